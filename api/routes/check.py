"""What a job would need: a worker answers, and nothing stays queued."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, body, context, document, problems, schemas, sources
from api.context import Context
from api.watch import Watch
from shared import db, jobs, listing, spec, store, upkeep, wishes, workers
from shared.errors import NotFound, Unavailable
from shared.listing import Job
from shared.spec import Resources, Spec
from shared.states import RETRYABLE, CancelMode, Kind, Lane, State

blueprint = APIBlueprint("check", __name__, abp_tags=[Tag(name="jobs")])

#: Seconds that a check may take, waiting included.
CHECK_S = 30
#: Seconds that its attempt may run.
_RUN_S = 60.0
#: Memory that the check itself may take, whatever the job asks for, MiB.
_MEMORY_MB = 2048


@blueprint.post(
    "/v1/jobs:check",
    request_body=document.REQUEST_BODY,
    responses={200: schemas.CheckAnswer, **problems.documented(400, 409, 413, 415, 422, 503)},
)
def check() -> Response:
    """Answer what a job would need (parameters, memory, disk, shapes), and queue nothing."""
    here = context.current()
    wanted = spec.parse(body.read_json())
    sources.check_files(here.settings.volume_path, wanted)
    _require_worker(here)
    with here.places.taken():
        return _answer_of(here, wanted)


def _require_worker(here: Context) -> None:
    with db.read(here.engine) as connection:
        alive = workers.alive(connection, within_s=here.settings.lease_s)
    if not any(one.state == "ready" and Lane.INTERACTIVE in one.lanes for one in alive):
        raise Unavailable(
            "The spec is valid as far as can be told without a worker; no worker that serves "
            "lane 'interactive' is ready to tell more."
        )


def _answer_of(here: Context, wanted: Spec) -> Response:
    with db.write(here.engine) as connection:
        submitted = jobs.submit(connection, _as_check(wanted), kind=Kind.CHECK)
    here.bell.ring(submitted.lane)
    try:
        return _said(here, Watch(here, submitted.job_id).until_ended(CHECK_S))
    finally:
        _clean_up(here, submitted.job_id)


def _as_check(wanted: Spec) -> Spec:
    memory_mb = min(wanted.resources.memory_mb, _MEMORY_MB)
    disk_mb = wanted.resources.disk_mb
    resources = Resources(lane=Lane.INTERACTIVE, memory_mb=memory_mb, time_limit_s=_RUN_S, disk_mb=disk_mb)
    return wanted.model_copy(
        update={"resources": resources, "priority": 100, "retries": 0, "name": None, "tags": {}},
    )


def _said(here: Context, job: Job | None) -> Response:
    if job is None or job.state not in {State.SUCCEEDED, State.FAILED}:
        raise Unavailable(f"The spec is valid as far as can be told; no worker answered in {CHECK_S} seconds.")
    if job.state == State.FAILED:
        code, message = job.error_code or "internal", job.error_message or "The check failed."
        return problems.problem(503 if code in RETRYABLE else 422, code, message)
    with db.read(here.engine) as connection:
        result = listing.result(connection, job.id)
    return answers.answer(schemas.CheckAnswer(result.value if result else {}))


def _clean_up(here: Context, job_id: str) -> None:
    """Delete the check's job; one that still runs is killed, and pruned later."""
    try:
        with db.write(here.engine) as connection:
            if listing.get(connection, job_id).state in {State.QUEUED, State.RUNNING}:
                wishes.cancel(connection, job_id, CancelMode.NOW)
            if listing.get(connection, job_id).state != State.RUNNING:
                upkeep.delete(connection, job_id)
                # Before the commit: a row that is gone would leave nobody to remove its files.
                store.remove_job(here.settings.volume_path, job_id)
    except NotFound:
        return
