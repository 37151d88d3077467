"""What a job came to, and by which attempts."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from api.queries import JobPath
from shared import db, listing
from shared.errors import Conflict
from shared.listing import Try

blueprint = APIBlueprint("results", __name__, abp_tags=[Tag(name="jobs")])


@blueprint.get(
    "/v1/jobs/<job:job_id>/result", responses={200: schemas.Result, **problems.documented(400, 404, 409, 503)}
)
def read_result(path: JobPath) -> Response:
    """Read a succeeded job's result; before that, and for any other end, 409."""
    with db.read(context.current().engine) as connection:
        job = listing.get(connection, path.job_id)
        result = listing.result(connection, path.job_id)
    if result is None:
        raise Conflict(f"Job {job.id} is {job.state}: a result exists once it has succeeded.")
    return answers.answer(answers.result(result))


@blueprint.get(
    "/v1/jobs/<job:job_id>/attempts", responses={200: schemas.AttemptPage, **problems.documented(400, 404, 503)}
)
def list_attempts(path: JobPath) -> Response:
    """List a job's attempts, the first one first."""
    with db.read(context.current().engine) as connection:
        listing.require(connection, path.job_id)
        tries = listing.tries(connection, path.job_id)
    return answers.answer(schemas.AttemptPage(data=[_attempt(one) for one in tries]))


def _attempt(one: Try) -> schemas.Attempt:
    error = schemas.JobError(code=one.error_code, message=one.error_message or "") if one.error_code else None
    return schemas.Attempt.model_construct(**vars(one), error=error)
