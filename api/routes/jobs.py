"""Jobs: submit, read, list, cancel, retry."""

import hashlib
import json
import re
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, body, context, document, problems, schemas, sources
from api.context import Context
from api.queries import JobPath, JobsQuery, encode_cursor
from api.watch import Watch
from shared import db, jobs, listing, spec, store, wishes
from shared.errors import BadRequest, NotFound, Unavailable
from shared.jobs import Submitted
from shared.listing import Filter, Job, Result
from shared.spec import Spec
from shared.states import INTERNAL, State
from shared.volume import usage

blueprint = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="jobs", description="Submit, read, cancel, retry")])

#: Seconds that `Prefer: wait` may ask for.
WAIT_MOST_S = 60

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])", re.IGNORECASE)
_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Any text of the client's; the same key brings the same job, never a second one",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    {
        "name": "Prefer",
        "in": "header",
        "description": f"`wait=N` holds the answer until the job has ended, at most N seconds (up to {WAIT_MOST_S}); "
        "the job in it has its `result` then",
        "schema": {"type": "string", "examples": ["wait=30"]},
    },
]


@blueprint.post(
    "/v1/jobs",
    request_body=document.REQUEST_BODY,
    openapi_extensions={"parameters": _HEADERS},
    responses={201: schemas.Job, 200: schemas.Job, **problems.documented(400, 409, 413, 415, 422, 503, 507)},
)
def submit() -> Response:
    """Submit a job.

    201 means that it will run. 200 means that this Idempotency-Key has brought it before. A request that prefers to
    wait gets the job's result in the same answer, when the job succeeds in time.
    """
    here = context.current()
    key = _idempotency_key()
    value = body.read_json()
    wanted = spec.parse(value)
    submitted = _submitted(here, wanted, key, _fingerprint(value))
    job, applied = _after_submit(here, submitted.job_id)
    outcome = _outcome(here, job) if applied else None
    headers = {"Location": answers.path(job.id), **applied}
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return answers.answer(answers.job(job, outcome=outcome), 200 if submitted.replayed else 201, headers)


def _submitted(here: Context, wanted: Spec, key: str | None, fingerprint: str) -> Submitted:
    """Store the job and ring, or find the one that this key has brought before."""
    if key is not None:
        # Before the files are looked at: they may be gone, and the answer must be the same.
        with db.read(here.engine) as connection:
            known = jobs.by_key(connection, key, fingerprint)
        if known is not None:
            return known
    sources.check_files(here.settings.volume_path, wanted)
    if wanted.kind != "evaluate":
        # Which leaves nothing but a result.
        usage.require_room(here.engine, here.settings)
    submitted = jobs.submit_once(here.engine, wanted, idempotency_key=key, fingerprint=fingerprint)
    if not submitted.replayed:
        here.bell.ring(submitted.lane)
    return submitted


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return key


def _fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _after_submit(here: Context, job_id: str) -> tuple[Job, dict[str, str]]:
    """Return the job, held back as the request prefers, and the headers that say so."""
    watch = Watch(here, job_id)
    asked = _WAIT.search(request.headers.get("Prefer", ""))
    if asked is None:
        return _seen(watch, 0), {}
    seconds = min(int(asked[1]), WAIT_MOST_S)
    try:
        with here.places.taken():
            return _seen(watch, seconds), {"Preference-Applied": f"wait={seconds}"}
    except Unavailable:
        # Waiting is a preference: without room for it, the answer comes at once.
        return _seen(watch, 0), {}


def _outcome(here: Context, job: Job) -> Result | None:
    """Return what the job came to, where it has succeeded while the request waited."""
    if job.state != State.SUCCEEDED:
        return None
    with db.read(here.engine) as connection:
        return listing.result(connection, job.id)


def _seen(watch: Watch, seconds: float) -> Job:
    job = watch.until_ended(seconds)
    assert job is not None  # noqa: S101 - it was looked at
    return job


@blueprint.get("/v1/jobs", responses={200: schemas.JobPage, **problems.documented(400, 503)})
def list_jobs(query: JobsQuery) -> Response:
    """List jobs, the newest first.

    New jobs never shift a page: a cursor goes on where the last page ended.
    """
    where = Filter(
        states=tuple(query.state or ()),
        kinds=tuple(query.kind or ()),
        name=query.name,
        lane=query.lane,
        tags=query.tags,
        created_after=query.created_after,
        created_before=query.created_before,
    )
    with db.read(context.current().engine) as connection:
        rows = listing.page(connection, where=where, before=query.cursor, limit=query.limit + 1)
    found = rows[: query.limit]
    more = len(rows) > query.limit
    cursor = encode_cursor(found[-1].id) if more else None
    page = schemas.JobPage.model_construct(
        data=[answers.job(row, spec=False) for row in found], has_more=more, next_cursor=cursor
    )
    return answers.answer(page, headers=_link(cursor))


def _link(cursor: str | None) -> dict[str, str]:
    if cursor is None:
        return {}
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return {"Link": f'<{request.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'}


@blueprint.get("/v1/jobs/<job:job_id>", responses={200: schemas.Job, 304: None, **problems.documented(400, 404, 503)})
def read_job(path: JobPath) -> Response:
    """Read a job.

    The ETag changes with the job: pollers send it as If-None-Match and get 304 until there is news.
    """
    here = context.current()
    with db.read(here.engine) as connection:
        version = listing.version(connection, path.job_id)
        # A running or ended job's tag is its version alone: nothing else need be read.
        if version is not None and request.if_none_match.contains_weak(_tag(version, None)):
            return Response(status=304, headers={"ETag": f'"{_tag(version, None)}"'})
        job = listing.get(connection, path.job_id)
        waiting = listing.waiting(connection, job, lease_s=here.settings.lease_s)
    if job.kind in INTERNAL:
        raise NotFound(f"There is no job {job.id}.")
    tag = _tag(job.version, f"{waiting.position} {waiting.reason}" if waiting else None)
    response = answers.answer(answers.job(job, waiting=waiting))
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


def _tag(version: int, waits: str | None) -> str:
    """Return an ETag: why a job waits changes without the job."""
    return str(version) if waits is None else f"{version}-{hashlib.sha256(waits.encode()).hexdigest()[:12]}"


@blueprint.delete("/v1/jobs/<job:job_id>", responses={200: schemas.Job, **problems.documented(400, 404, 409, 503)})
def delete(path: JobPath) -> Response:
    """Delete the files of a job that has ended; its history stays in SQL, and its row says `deleted_at`.

    409 while the job has not ended, or while one that has not ended needs one of its checkpoints.
    """
    here = context.current()
    with db.write(here.engine) as connection:
        wishes.delete(connection, path.job_id)
        job = listing.get(connection, path.job_id)
    store.remove_job(here.settings.volume_path, path.job_id)
    return answers.answer(answers.job(job))
