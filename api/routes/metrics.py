"""A job's metrics: as rows, and as Keras's History."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from api.queries import JobPath, MetricsQuery
from shared import db, listing, metrics

blueprint = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="metrics", description="What training measured")])


@blueprint.get(
    "/v1/jobs/<job:job_id>/metrics", responses={200: schemas.MetricPage, **problems.documented(400, 404, 503)}
)
def read_metrics(path: JobPath, query: MetricsQuery) -> Response:
    """Read a job's metrics by epoch and name. A page ends with a whole epoch."""
    # One epoch more than asked for, so that the last one can be made whole.
    most = query.limit + metrics.NAMES_PER_EPOCH
    with db.read(context.current().engine) as connection:
        listing.require(connection, path.job_id)
        rows = metrics.page(connection, path.job_id, names=query.wanted, since_epoch=query.since_epoch, limit=most)
    last = rows[min(query.limit, len(rows)) - 1].epoch if rows else 0
    whole = [row for row in rows if row.epoch <= last]
    more = len(rows) > len(whole)
    page = schemas.MetricPage.model_construct(
        data=[schemas.Metric.model_construct(**vars(row)) for row in whole],
        has_more=more,
        next_since_epoch=last + 1 if more else None,
    )
    return answers.answer(page)


@blueprint.get("/v1/jobs/<job:job_id>/history", responses={200: schemas.History, **problems.documented(400, 404, 503)})
def read_history(path: JobPath) -> Response:
    """Read what Keras's `History.history` holds, and nothing else."""
    with db.read(context.current().engine) as connection:
        listing.require(connection, path.job_id)
        history = metrics.history(connection, path.job_id)
    return answers.answer(schemas.History.model_construct(history))
