"""What is asked of a job: its end, a pause, a checkpoint, another try, more epochs."""

from typing import Any

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, body, context, problems, schemas
from api.queries import JobPath
from shared import db, listing, wishes
from shared.volume import usage

blueprint = APIBlueprint("wishes", __name__, abp_tags=[Tag(name="jobs")])


def _optional(schema: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a body that may be left out."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"required": False, "content": content}


@blueprint.post(
    "/v1/jobs/<job:job_id>/cancel",
    request_body=_optional("CancelBody"),
    responses={200: schemas.Job, **problems.documented(400, 404, 409, 413, 415, 422, 503)},
)
def cancel(path: JobPath) -> Response:
    """Ask for a job's end.

    A waiting job is cancelled at once; a running one stays `running` until its process is gone.
    Asking again is harmless, and `now` is stronger than `after_epoch`.
    """
    asked = body.read_optional(schemas.CancelBody)
    with db.write(context.current().engine) as connection:
        wishes.cancel(connection, path.job_id, asked.mode)
        job = listing.get(connection, path.job_id)
    return answers.answer(answers.job(job))


@blueprint.post("/v1/jobs/<job:job_id>/pause", responses={200: schemas.Job, **problems.documented(400, 404, 409, 503)})
def pause(path: JobPath) -> Response:
    """Hold a job back until it is resumed.

    A waiting job is not claimed; a running one saves a checkpoint after its step and goes back to its lane.
    """
    with db.write(context.current().engine) as connection:
        wishes.pause(connection, path.job_id)
        job = listing.get(connection, path.job_id)
    return answers.answer(answers.job(job))


@blueprint.post(
    "/v1/jobs/<job:job_id>/resume",
    request_body=_optional("ResumeBody"),
    responses={200: schemas.Job, 201: schemas.Job, **problems.documented(400, 404, 409, 413, 415, 422, 503, 507)},
)
def resume(path: JobPath) -> Response:
    """Let a paused job go on (200), or train on where an ended one stopped, as a new job (201).

    The new job carries weights, optimizer, callbacks' states and history on, to `epochs` in all.
    """
    here = context.current()
    asked = body.read_optional(schemas.ResumeBody)
    with db.read(here.engine) as connection:
        paused = listing.get(connection, path.job_id).held
    if not paused:
        usage.require_room(here.engine, here.settings)
    with db.write(here.engine) as connection:
        paused = listing.get(connection, path.job_id).held
        if paused:
            job_id, lane = path.job_id, wishes.go_on(connection, path.job_id)
        else:
            submitted = wishes.resume(connection, path.job_id, epochs=asked.epochs, name=asked.name)
            job_id, lane = submitted.job_id, submitted.lane
        job = listing.get(connection, job_id)
    here.bell.ring(lane)
    return answers.answer(answers.job(job), 200 if paused else 201, {"Location": answers.path(job_id)})


@blueprint.post(
    "/v1/jobs/<job:job_id>/checkpoint", responses={202: schemas.Job, **problems.documented(400, 404, 409, 503)}
)
def save(path: JobPath) -> Response:
    """Ask a running train job for a checkpoint after its next step. It is there when its event comes."""
    with db.write(context.current().engine) as connection:
        wishes.save(connection, path.job_id)
        job = listing.get(connection, path.job_id)
    return answers.answer(answers.job(job), 202)


@blueprint.post("/v1/jobs/<job:job_id>/retry", responses={200: schemas.Job, **problems.documented(400, 404, 409, 503)})
def retry(path: JobPath) -> Response:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
    here = context.current()
    with db.write(here.engine) as connection:
        lane = wishes.retry(connection, path.job_id)
        job = listing.get(connection, path.job_id)
    here.bell.ring(lane)
    return answers.answer(answers.job(job))
