"""For probes: whether it is up, and whether it can work."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from api.context import Context
from shared import db, preflight, workers
from shared.errors import Misconfigured, Unavailable

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="health", description="For probes")])


@blueprint.get("/healthz", responses={200: schemas.Health, **problems.documented(400)})
def healthz() -> Response:
    """Say that the process answers; nothing else is looked at."""
    return answers.answer(schemas.Health())


@blueprint.get("/readyz", responses={200: schemas.Health, **problems.documented(400, 503)})
def readyz() -> Response:
    """Say whether jobs can run: the database has the right schema, and a worker is ready."""
    here = context.current()
    try:
        # A database that is away is a 503 with its own sentence.
        preflight.check_schema(here.engine)
        _require_worker(here)
    except Misconfigured as error:
        raise Unavailable(error.message) from error
    return answers.answer(schemas.Health())


def _require_worker(here: Context) -> None:
    with db.read(here.engine) as connection:
        alive = workers.alive(connection, within_s=here.settings.lease_s)
    if not alive:
        raise Unavailable("No worker is alive.")
    if not any(one.state == "ready" for one in alive):
        raise Unavailable("No worker is ready: " + ", ".join(f"{one.name} is {one.state}" for one in alive) + ".")
