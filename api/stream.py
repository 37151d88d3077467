"""A job's events as server-sent events: resumable, and ended by the job's end.

Each event of the job's sequence carries its number as `id`, so that `Last-Event-ID` goes on without
gaps or repeats, at any API process. `progress` is passing news: it has no id and is not kept.
"""

import time
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from api import schemas
from api.context import Context
from api.watch import Watch
from shared import db, events, log
from shared.errors import NotFound

#: Seconds between two looks at the database.
POLL_S = 0.25
#: Seconds of silence after which a comment is sent: a client that has gone shows only when something is written.
PING_S = 15.0
#: Events that are read at a time.
PAGE = 200
#: Milliseconds after which a browser comes back.
RETRY_MS = 1000

_log = log.get(__name__)


class Stream:
    """One client's stream of one job's events."""

    def __init__(self, context: Context, job_id: str, *, after: int) -> None:
        """Begin after the event of that number."""
        self._context = context
        self._job_id = job_id
        self._after = after
        self._watch = Watch(context, job_id)
        self._progress: dict[str, Any] | None = None
        self._behind = True

    def begin(self) -> list[str]:
        """Return what is there already. Raise `NotFound`."""
        return self._news()

    @property
    def ended(self) -> bool:
        """Whether the job has ended and all its events were read."""
        return self._watch.ended and not self._behind

    def frames(self, first: list[str]) -> Iterator[str]:
        """Yield the frames, `first` before all others."""
        yield f"retry: {RETRY_MS}\n\n"
        news = first
        spoke = time.monotonic()
        while True:
            if not news and time.monotonic() - spoke >= PING_S:
                news = [": ping\n\n"]
            if news:
                yield "".join(news)
                spoke = time.monotonic()
            if self.ended or (not self._behind and self._context.stopping.wait(POLL_S)):
                return
            try:
                news = self._news()
            except NotFound:
                return
            except Exception as error:
                # The headers are out: an end is all that can be said. The client comes back where it was.
                if not db.is_away(error):
                    raise
                _log.warning("stream ended: the database is away", job=self._job_id)
                return

    def _news(self) -> list[str]:
        changed = self._watch.look()
        if not changed and not self._behind:
            return []
        with db.read(self._context.engine) as connection:
            page = events.page(connection, self._job_id, after=self._after, limit=PAGE)
        self._behind = len(page) == PAGE
        if page:
            self._after = page[-1].seq
        return [*map(_frame, page), *self._progressed()]

    def _progressed(self) -> list[str]:
        job = self._watch.job
        if job is None or self._watch.ended or job.progress in (None, self._progress):
            return []
        self._progress = job.progress
        data = {"type": "progress", "attempt": job.attempt, "data": job.progress}
        return [f"event: progress\ndata: {to_json(data, inf_nan_mode='null').decode()}\n\n"]


def _frame(event: events.Event) -> str:
    data = schemas.Event.model_validate(event).model_dump_json()
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n"
