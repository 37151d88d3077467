"""A job's model in another format: written by a worker when it is first asked for, and kept for a while."""

import re
from urllib.parse import urlencode

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, downloads, problems, schemas
from api.context import Context
from api.downloads import Download
from api.queries import JobPath, ModelQuery
from api.watch import Watch
from shared import checkpoints, db, exports, listing, workers
from shared.errors import Conflict, NotFound, Unavailable
from shared.formats import FILES
from shared.jobs import Submitted
from shared.listing import Job
from shared.model_spec import JobModel
from shared.spec import ExportSpec, Resources
from shared.states import INTERNAL, RETRYABLE, Kind, Lane, State

blueprint = APIBlueprint("model", __name__, abp_tags=[Tag(name="files")])

#: Seconds that a request is held, unless it prefers fewer.
HELD_S = 60
#: Seconds after which a client that was told 202 asks again.
_AGAIN_S = 1
#: Seconds that an export's attempt may run.
_RUN_S = 1800.0
#: Memory that an export asks for at least, MiB: tracing and conversion take it whatever the model's size.
_MEMORY_MB = 1024
_REMOVED = "The file was removed just now; ask again."
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])", re.IGNORECASE)
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=N` holds the answer at most N seconds; it is {HELD_S} unless told, and at most",
    "schema": {"type": "string", "examples": ["wait=5"]},
}


@blueprint.get(
    "/v1/jobs/<job:job_id>/model",
    openapi_extensions={"parameters": [_PREFER]},
    responses={
        **downloads.documented("application/octet-stream"),
        202: schemas.Export,
        304: None,
        **problems.documented(400, 404, 409, 416, 422, 503),
    },
)
def read_model(path: JobPath, query: ModelQuery) -> Response:
    """Download a train job's model in a format, as one of its checkpoints holds it.

    202 means that a worker still writes it: ask again. The file is kept for a day after it was written.
    """
    here = context.current()
    spec = _export(here, path.job_id, query)
    return _answer(here, _followed(here, exports.request(here.engine, spec)), path.job_id, query)


def _followed(here: Context, submitted: Submitted) -> Job:
    """Return the export as it is at its end, or when the request may be held no longer."""
    watch = Watch(here, submitted.job_id)
    try:
        watch.look()
        if not watch.ended:
            _require_worker(here)
            here.bell.ring(submitted.lane)
            _wait(here, watch)
    except NotFound:
        # The pruner took it between two looks: it was a day old.
        raise Unavailable(_REMOVED) from None
    assert watch.job is not None  # noqa: S101 - it was looked at
    return watch.job


def _export(here: Context, job_id: str, query: ModelQuery) -> ExportSpec:
    """Return the export that is asked for; raise for a model that is not there (yet, or any more)."""
    with db.read(here.engine) as connection:
        job = listing.get(connection, job_id)
        saved = checkpoints.find(connection, job_id, query.wanted)
    if job.kind in INTERNAL:
        raise NotFound(f"There is no job {job_id}.")
    if job.kind != Kind.TRAIN:
        raise NotFound(f"Job {job_id} is a job of kind '{job.kind}'; only a train job has a model of its own.")
    if saved is None and job.state not in {State.SUCCEEDED, State.FAILED, State.CANCELLED}:
        raise Conflict(f"Job {job_id} is {job.state}: it has no checkpoint '{query.checkpoint}' yet.")
    if saved is None:
        raise NotFound(f"Job {job_id} is {job.state} and has no checkpoint '{query.checkpoint}' (any more).")
    memory_mb = max(job.spec["resources"]["memory_mb"], _MEMORY_MB)
    return ExportSpec(
        model=JobModel(job=job_id, checkpoint=query.wanted),
        format=query.format,
        resources=Resources(lane=Lane.INTERACTIVE, memory_mb=memory_mb, time_limit_s=_RUN_S, stall_limit_s=_RUN_S),
        retries=1,
        seed=0,
    )


def _require_worker(here: Context) -> None:
    with db.read(here.engine) as connection:
        alive = workers.alive(connection, within_s=here.settings.lease_s)
    if not any(Lane.INTERACTIVE in one.lanes for one in alive):
        raise Unavailable("No worker that serves lane 'interactive' is there to write the model; start one.")


def _wait(here: Context, watch: Watch) -> None:
    """Hold the request as it prefers; without room for that, not at all."""
    asked = _WAIT.search(request.headers.get("Prefer", ""))
    try:
        with here.places.taken():
            watch.until_ended(min(int(asked[1]), HELD_S) if asked else HELD_S)
    except Unavailable:
        return


def _answer(here: Context, job: Job, source: str, query: ModelQuery) -> Response:
    if job.state == State.SUCCEEDED:
        return _file(here, job, source, query)
    if job.state == State.FAILED:
        code, message = job.error_code or "internal", job.error_message or "The model could not be written."
        return problems.problem(503 if code in RETRYABLE else 422, code, message)
    if job.state == State.CANCELLED:
        raise Unavailable("Writing the model was cancelled; ask again in a minute.")
    said = schemas.Export(state=job.state, format=query.format, checkpoint=query.checkpoint)
    asked = urlencode({"as": query.format, "checkpoint": query.checkpoint})
    headers = {"Location": f"{answers.path(source)}/model?{asked}", "Retry-After": str(_AGAIN_S)}
    return answers.answer(said, 202, headers)


def _file(here: Context, job: Job, source: str, query: ModelQuery) -> Response:
    ending, kind = FILES[query.format]
    name = f"{source}-{query.checkpoint if query.epoch is None else f'epoch-{query.epoch}'}{ending}"

    def find() -> Download:
        with db.read(here.engine) as connection:
            found = listing.artifact(connection, job.id, f"model{ending}")
        if found is None:
            raise Unavailable(_REMOVED)
        return Download(found[0], name, kind, job.finished_at)

    return downloads.send(here, find)
