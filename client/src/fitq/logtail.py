"""A job's log as it grows: through broken streams and restarts of the server, to the job's end."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from fitq import errors, follow
from fitq.connection import Connection, path


@dataclass(frozen=True)
class LogPart:
    """A part of an attempt's log; or, without text, something that was `said` about the way to the server."""

    attempt: int
    text: str
    said: str = ""


class LogTail:
    """One job's log, each byte once; iterate it once.

    Raise `NotFound` without such a job, `NoServer` when nothing has answered for `follow.PATIENCE_S`.
    """

    def __init__(self, connection: Connection, job_id: str, *, tail: int | None, attempt: int | None) -> None:
        """Take what to follow; nothing is asked yet."""
        self._connection = connection
        self._path = path("jobs", job_id, "logs")
        asked = {"follow": "true", "tail": tail, "attempt": attempt}
        self._asked = {name: str(value) for name, value in asked.items() if value is not None}
        self._ended = False
        self._heard_at = time.monotonic()
        self._is_away = False

    def __iter__(self) -> Iterator[LogPart]:
        """Yield the log's parts, to the job's end."""
        while True:
            try:
                yield from self._streamed()
            except (errors.NoServer, errors.Unavailable) as error:
                if isinstance(error, errors.Unavailable):
                    self._heard_at = time.monotonic()
                if time.monotonic() - self._heard_at > follow.PATIENCE_S:
                    raise
                if not self._is_away:
                    yield LogPart(0, "", f"{error} Trying again.")
                self._is_away = True
            if self._ended:
                return
            time.sleep(follow.POLL_S)

    def _streamed(self) -> Iterator[LogPart]:
        with self._connection.stream(self._path, params=self._asked) as stream:
            for said in stream:
                self._heard_at, self._is_away = time.monotonic(), False
                if said["type"] == "end":
                    self._ended = True
                    return
                # The next stream goes on behind this part.
                place = {"attempt": str(said["attempt"]), "offset": str(said["offset"])}
                self._asked = {"follow": "true", **place}
                yield LogPart(said["attempt"], said["text"])
