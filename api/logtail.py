"""A job's log as it grows: attempt after attempt, to the job's end.

As text, the attempts are parted by a line. As server-sent events, each piece carries the attempt
and the bytes of its log that are known with it; `attempt` and `offset` go on there, without gaps
or repeats, at any API process.
"""

import codecs
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from pydantic_core import to_json

from api.context import Context
from api.watch import Watch
from shared import db, log, store
from shared.errors import NotFound
from shared.states import State

#: Bytes that are read and sent at a time.
CHUNK = 1 << 16
#: Bytes in which the last lines are looked for.
TAIL_BYTES = 1 << 22
#: Seconds between two looks.
POLL_S = 0.25
#: Seconds of silence after which an event stream gets a comment.
PING_S = 15.0
#: Milliseconds after which a browser comes back.
RETRY_MS = 1000

_log = log.get(__name__)


@dataclass(frozen=True)
class Piece:
    """A part of one attempt's log, and the bytes of it that are known with this part."""

    attempt: int
    offset: int
    content: bytes


class Tail:
    """One job's log, followed from a place in it."""

    def __init__(self, context: Context, job_id: str, *, attempt: int | None, offset: int, tail: int | None) -> None:
        """Begin behind `offset` bytes of an attempt, or with its last `tail` lines. Default: the last attempt."""
        self._context = context
        self._job_id = job_id
        self._attempt = attempt or 0
        self._offset = offset
        self._tail = tail
        self._watch = Watch(context, job_id)
        self._done = False

    def next(self) -> Piece | None:
        """Return what is new, or None. Raise `NotFound`."""
        self._watch.look()
        job = self._watch.job
        assert job is not None  # noqa: S101 - it was looked at
        if self._attempt == 0:
            # Before the first attempt there is no log.
            self._attempt = job.attempt
        # Looked at before the log is read: what is read after its attempt's end is all of it.
        over = job.attempt > self._attempt or job.state != State.RUNNING
        while self._attempt:
            if content := self._read():
                return Piece(self._attempt, self._offset, content)
            if not over or self._attempt >= job.attempt:
                break
            self._attempt, self._offset, self._tail = self._attempt + 1, 0, None
            over = job.attempt > self._attempt or job.state != State.RUNNING
        self._done = self._watch.ended
        return None

    @property
    def ended(self) -> str:
        """The state in which the job has ended, once its whole log was returned; empty before that."""
        return str(self._watch.job.state) if self._done and self._watch.job else ""

    def _read(self) -> bytes:
        """Return the next bytes; what is longer than a chunk is cut behind a line."""
        try:
            with (self._context.settings.volume_path / store.log_path(self._job_id, self._attempt)).open("rb") as file:
                if self._tail is not None:
                    self._offset, self._tail = _last_lines(file, self._tail), None
                file.seek(self._offset)
                content = file.read(CHUNK)
        except FileNotFoundError:
            return b""
        if len(content) == CHUNK:
            content = content[: content.rfind(b"\n") + 1] or content
        content = _whole(content)
        self._offset += len(content)
        return content


def _last_lines(file: BinaryIO, count: int) -> int:
    """Return where the last lines of a file begin."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    lines = file.read(TAIL_BYTES).splitlines(keepends=True)
    return size - sum(map(len, lines[max(0, len(lines) - count) :]))


def _whole(content: bytes) -> bytes:
    """Return a text without the character that is only begun at its end; one that stays so is sent next time."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content)
    begun, _ = decoder.getstate()
    return content[: len(content) - len(begun)] or content


class Form(Protocol):
    """How a followed log is written down."""

    #: What is sent before all else; without anything, not even the headers would go out.
    begin: bytes
    #: What is sent when there was nothing to send for long; empty when nothing can be.
    ping: bytes

    def piece(self, piece: Piece) -> bytes:
        """Write a part of the log."""

    def end(self, state: str) -> bytes:
        """Write that the job has ended, and that this was all."""


class Text:
    """The log as it was printed, with a line before each further attempt."""

    begin = b""
    ping = b""

    def __init__(self) -> None:
        """Nothing was written yet."""
        self._attempt = 0
        self._in_line = False

    def piece(self, piece: Piece) -> bytes:
        """Write a part of the log."""
        parted = b""
        if self._attempt not in {0, piece.attempt}:
            parted = (b"\n" if self._in_line else b"") + f"--- attempt {piece.attempt} ---\n".encode()
        self._attempt, self._in_line = piece.attempt, not piece.content.endswith(b"\n")
        return parted + piece.content

    def end(self, state: str) -> bytes:  # noqa: ARG002 - a text only ends
        """Write nothing."""
        return b""


class Events:
    """The log as server-sent events."""

    begin = f"retry: {RETRY_MS}\n\n".encode()
    ping = b": ping\n\n"

    def piece(self, piece: Piece) -> bytes:
        """Write a part of the log; what is no UTF-8 is replaced."""
        text = piece.content.decode(errors="replace")
        data = {"type": "log", "attempt": piece.attempt, "offset": piece.offset, "text": text}
        return f"id: {piece.attempt}:{piece.offset}\nevent: log\ndata: ".encode() + to_json(data) + b"\n\n"

    def end(self, state: str) -> bytes:
        """Write the last event."""
        return b"event: end\ndata: " + to_json({"type": "end", "state": state}) + b"\n\n"


def frames(
    context: Context, tail: Tail, first: Piece | None, form: Form, *, gone: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield a log as it grows, `first` before all else, until the job has ended or the client is gone."""
    yield form.begin
    piece = first
    spoke = time.monotonic()
    while True:
        if piece is not None:
            yield form.piece(piece)
            spoke = time.monotonic()
        elif tail.ended:
            yield form.end(tail.ended)
            return
        elif form.ping and time.monotonic() - spoke >= PING_S:
            yield form.ping
            spoke = time.monotonic()
        if piece is None and (gone() or context.stopping.wait(POLL_S)):
            return
        if context.stopping.is_set():
            return
        try:
            piece = tail.next()
        except NotFound:
            return
        except Exception as error:
            # As with events: an end is all that can be said now.
            if not db.is_away(error):
                raise
            _log.warning("log ended: the database is away")
            return
