"""What a job printed: as it stands, or as it grows."""

import re
from collections import deque
from functools import partial
from pathlib import Path

from flask import Response, request, send_file
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import context, logtail, problems, requests
from api.context import Context
from api.logtail import Tail
from api.queries import JobPath, LogsQuery
from shared import db, listing, store
from shared.errors import BadRequest

blueprint = APIBlueprint("logs", __name__, abp_tags=[Tag(name="files")])

_TEXT = "text/plain"
_STREAM = "text/event-stream"
_PLACE = re.compile(r"([1-9][0-9]{0,8}):([0-9]{1,15})")
_LOG = {
    "description": "The log; with `follow` and `Accept: text/event-stream` as events",
    "content": {_TEXT: {"schema": {"type": "string"}}, _STREAM: {"schema": {"type": "string"}}},
}


@blueprint.get(
    "/v1/jobs/<job:job_id>/logs",
    responses={
        200: _LOG,
        204: {"description": "The job has ended, and Last-Event-ID names the end of its log: do not come back"},
        **problems.documented(400, 404, 416, 503),
    },
)
def read_log(path: JobPath, query: LogsQuery) -> Response:
    """Read what an attempt's runner printed; empty while it has printed nothing. Ranges are understood.

    With `follow`, the answer goes on as the log grows, through all further attempts, and ends when
    the job has ended. It goes on behind `offset` bytes of `attempt`, or behind the place that the
    header Last-Event-ID names (`attempt:offset`).
    """
    here = context.current()
    if query.follow:
        return _follow(here, path.job_id, query)
    with db.read(here.engine) as connection:
        job = listing.get(connection, path.job_id)
    file = here.settings.volume_path / store.log_path(job.id, query.attempt or job.attempt)
    try:
        if query.tail is None and not query.offset:
            return send_file(file, mimetype=_TEXT, etag=False, max_age=0)
        if query.tail is None:
            return _behind(file, query.offset)
        return Response(_last_lines(file, query.tail), mimetype=_TEXT)
    except FileNotFoundError:
        return Response(b"", mimetype=_TEXT)


def _last_lines(file: Path, count: int) -> bytes:
    with file.open("rb") as lines:
        return b"".join(deque(lines, maxlen=count))


def _behind(file: Path, offset: int) -> Response:
    text = file.open("rb")
    text.seek(offset)
    response = Response(iter(partial(text.read, logtail.CHUNK), b""), mimetype=_TEXT)
    response.call_on_close(text.close)
    return response


def _follow(here: Context, job_id: str, query: LogsQuery) -> Response:
    events = request.accept_mimetypes.best_match([_TEXT, _STREAM]) == _STREAM
    seen = _last_seen() if events else None
    attempt, offset = seen or (query.attempt, query.offset)
    tail = Tail(here, job_id, attempt=attempt, offset=offset, tail=None if seen else query.tail)
    here.places.take()
    try:
        first = tail.next()
    except BaseException:
        here.places.leave()
        raise
    if seen and first is None and tail.ended:
        here.places.leave()
        return Response(status=204)
    form = logtail.Events() if events else logtail.Text()
    frames = logtail.frames(here, tail, first, form, gone=requests.hang_up())
    response = Response(frames, mimetype=_STREAM if events else _TEXT)
    # Also when the client goes before the first frame.
    response.call_on_close(here.places.leave)
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"})
    return response


def _last_seen() -> tuple[int, int] | None:
    given = request.headers.get("Last-Event-ID", "")
    if not given:
        return None
    place = _PLACE.fullmatch(given)
    if place is None:
        raise BadRequest("Last-Event-ID must be attempt:offset, as a log's events have it.")
    return int(place[1]), int(place[2])
