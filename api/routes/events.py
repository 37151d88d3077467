"""What happens to a job: a page of it, or a stream."""

import re

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from api.context import Context
from api.queries import EventsQuery, JobPath
from api.stream import Stream
from shared import db, events, listing
from shared.errors import BadRequest

blueprint = APIBlueprint("events", __name__, abp_tags=[Tag(name="events", description="What happens to a job")])

_SEQ = re.compile(r"[0-9]{1,15}")
_JSON = "application/json"
_STREAM = "text/event-stream"
_PAGES = {
    "description": "A page, or by `Accept: text/event-stream` a stream that ends with the job",
    "content": {
        _JSON: {"schema": {"$ref": "#/components/schemas/EventPage"}},
        _STREAM: {"schema": {"type": "string"}},
    },
}


@blueprint.get(
    "/v1/jobs/<job:job_id>/events",
    responses={
        200: _PAGES,
        204: {"description": "The job has ended, and Last-Event-ID names its last event: do not come back"},
        **problems.documented(400, 404, 503),
    },
)
def read_events(path: JobPath, query: EventsQuery) -> Response:
    """Read a job's events, as JSON or as a stream.

    A stream goes on after the event that the header Last-Event-ID names, without gaps or repeats. It
    also carries `progress`, which has no id and is not kept.
    """
    here = context.current()
    if request.accept_mimetypes.best_match([_JSON, _STREAM]) == _STREAM:
        return _stream(here, path.job_id, _last_seen(query.after))
    with db.read(here.engine) as connection:
        listing.require(connection, path.job_id)
        found = events.page(connection, path.job_id, after=query.after, limit=query.limit + 1)
    page = found[: query.limit]
    return answers.answer(
        schemas.EventPage(
            data=[schemas.Event.model_validate(one) for one in page],
            has_more=len(found) > len(page),
            next_after=page[-1].seq if page else query.after,
        ),
        headers={"Vary": "Accept"},
    )


def _last_seen(after: int) -> int:
    given = request.headers.get("Last-Event-ID", "")
    if not given:
        return after
    if not _SEQ.fullmatch(given):
        raise BadRequest("Last-Event-ID must be the number of an event.")
    return int(given)


def _stream(here: Context, job_id: str, after: int) -> Response:
    here.places.take()
    try:
        stream = Stream(here, job_id, after=after)
        first = stream.begin()
    except BaseException:
        here.places.leave()
        raise
    if stream.ended and not first:
        here.places.leave()
        return Response(status=204)
    response = Response(stream.frames(first), mimetype=_STREAM)
    # Also when the client goes before the first frame.
    response.call_on_close(here.places.leave)
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"})
    return response
