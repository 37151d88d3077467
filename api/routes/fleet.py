"""Who works, and how full the lanes are."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from shared import db, queues, workers
from shared.states import Lane

blueprint = APIBlueprint("fleet", __name__, abp_tags=[Tag(name="fleet", description="Workers and lanes")])


@blueprint.get("/v1/workers", responses={200: schemas.WorkerPage, **problems.documented(400, 503)})
def list_workers() -> Response:
    """List the workers that are alive."""
    here = context.current()
    with db.read(here.engine) as connection:
        alive = workers.alive(connection, within_s=here.settings.lease_s)
    return answers.answer(schemas.WorkerPage(data=[schemas.Worker.model_validate(one) for one in alive]))


@blueprint.get("/v1/queues", responses={200: schemas.QueuePage, **problems.documented(400, 503)})
def list_queues() -> Response:
    """List the lanes: what waits, and what runs."""
    with db.read(context.current().engine) as connection:
        waiting = queues.waiting(connection, older_than_s=0)
        running = queues.running(connection)
    return answers.answer(
        schemas.QueuePage(
            data=[schemas.Queue(lane=lane, waiting=waiting.get(lane, 0), running=running.get(lane, 0)) for lane in Lane]
        )
    )
