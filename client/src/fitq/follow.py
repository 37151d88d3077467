"""Following a job: its events in order, through broken streams and restarts of the server, to its end."""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fitq import errors
from fitq.connection import Connection, Stream, path

#: The states that a job leaves only by a retry.
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})

#: Seconds without an event after which the job itself is looked at: a waiting job sends none.
LOOK_S = 2.0
#: Seconds between two looks where the server grants no stream.
POLL_S = 1.0
#: Looks before a refused stream is asked for again.
POLLS = 15
#: Seconds without any answer after which the server is given up.
PATIENCE_S = 120.0
#: Events of one page.
_PAGE = 100


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    `state`, `resumed`, `epoch`, `checkpoint` and `cancel_requested` are the server's, numbered by `seq`;
    `progress` is its unnumbered sign of life. The client adds `job` (the job's whole JSON, whenever
    it changed, and once more at the end) and `disconnected` (with a `message`).
    """

    type: str
    data: dict[str, Any]
    seq: int | None = None


class _Feed:
    """One event stream, read by a thread of its own, so that a reader can wait for a while only."""

    def __init__(self, connection: Connection, place: str, after: int) -> None:
        """Open the stream in the background."""
        self._items: queue.SimpleQueue[Event | errors.FitqError | None] = queue.SimpleQueue()
        self._stream: Stream | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(connection, place, after), name="fitq-events", daemon=True
        )
        self._thread.start()

    def take(self, wait_s: float) -> Event | None:
        """Return the next event; None at the stream's end. Raise `queue.Empty` when none came in time."""
        item = self._items.get(timeout=max(wait_s, 0.001))
        if isinstance(item, errors.FitqError):
            raise item
        return item

    def wake(self) -> None:
        """Make a waiting `take` return at once, as at the stream's end."""
        self._items.put(None)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._stream is not None:
            self._stream.abort()
        self._thread.join(timeout=1.0)

    def _read(self, connection: Connection, place: str, after: int) -> None:
        last: errors.FitqError | None = None
        try:
            with connection.stream(place, after=after) as self._stream:
                for said in self._stream:
                    if self._closed.is_set():
                        break
                    self._items.put(_event(said))
        except errors.FitqError as error:
            last = error
        finally:
            self._items.put(last)


def _event(said: dict[str, Any]) -> Event:
    return Event(said["type"], said["data"], said.get("seq"))


class Following:
    """One job's events behind number `after`, to the job's end; iterate it once.

    Raise `WaitTimeout` after `timeout_s` seconds (None waits for ever), `NotFound` without such a
    job, `NoServer` when nothing has answered for `PATIENCE_S`.
    """

    def __init__(self, connection: Connection, job_id: str, *, after: int = 0, timeout_s: float | None = None) -> None:
        """Take what to follow; nothing is asked yet."""
        self._connection = connection
        self._id = job_id
        self._events = path("jobs", job_id, "events")
        self._after = after
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._job: dict[str, Any] = {}
        self._heard_at = time.monotonic()
        self._is_away = False
        self._stopped = threading.Event()
        self._feed: _Feed | None = None

    def stop(self) -> None:
        """End the iteration, which another thread may be waiting in."""
        self._stopped.set()
        if (feed := self._feed) is not None:
            feed.wake()

    def __iter__(self) -> Iterator[Event]:
        """Yield the events, and at the very end the job as it ended."""
        yield from self._look()
        while not self._over:
            try:
                yield from self._streamed()
                self._rest()
            except errors.Unavailable:
                yield from self._polled(POLLS)
            except errors.NoServer:
                # It may be the stream alone that broke.
                yield from self._polled(1)

    @property
    def _ended(self) -> bool:
        return self._job.get("state") in TERMINAL

    @property
    def _over(self) -> bool:
        return self._ended or self._stopped.is_set()

    def _streamed(self) -> Iterator[Event]:
        """Yield what a stream brings; look at the job when it brings nothing."""
        feed = self._feed = _Feed(self._connection, self._events, self._after)
        try:
            while not self._over:
                try:
                    event = feed.take(self._patience(LOOK_S))
                except queue.Empty:
                    self._check_deadline()
                    yield from self._look()
                    continue
                if self._stopped.is_set():
                    return
                if event is None:
                    # The server ends a stream with its job, or because it stops itself.
                    yield from self._look()
                    self._check_deadline()
                    break
                yield from self._fresh([event])
        finally:
            feed.close()

    def _polled(self, times: int) -> Iterator[Event]:
        """Ask again and again, while no stream is to be had; give up when nothing has answered for long."""
        for _ in range(times):
            try:
                yield from self._pages()
                yield from self._look()
            except (errors.NoServer, errors.Unavailable) as error:
                if time.monotonic() - self._heard_at > PATIENCE_S:
                    raise
                if not self._is_away:
                    yield Event("disconnected", {"message": str(error)})
                self._is_away = True
            if self._over:
                return
            self._rest()

    def _look(self) -> Iterator[Event]:
        """Yield the job if it changed. An ended one comes last: behind the events before its end."""
        job = self._connection.get(path("jobs", self._id))
        self._hear()
        ended = job.get("state") in TERMINAL
        if ended:
            yield from self._pages()
        changed = job != self._job
        self._job = job
        if changed or ended:
            yield Event("job", job)

    def _pages(self) -> Iterator[Event]:
        """Yield the stored events that were not yielded yet."""
        while True:
            said = self._connection.get(self._events, {"after": str(self._after), "limit": str(_PAGE)})
            yield from self._fresh([_event(one) for one in said["data"]])
            if not said["has_more"]:
                return

    def _fresh(self, events: list[Event]) -> Iterator[Event]:
        """Yield the events that are new, and remember the last number."""
        self._hear()
        for event in events:
            if event.seq is None or event.seq > self._after:
                self._after = event.seq or self._after
                yield event
        self._check_deadline()

    def _hear(self) -> None:
        self._heard_at, self._is_away = time.monotonic(), False

    def _patience(self, most_s: float) -> float:
        return most_s if self._deadline is None else min(most_s, self._deadline - time.monotonic())

    def _rest(self) -> None:
        if not self._over:
            self._stopped.wait(max(0.0, self._patience(POLL_S)))
            self._check_deadline()

    def _check_deadline(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline and not self._ended:
            state = self._job.get("state", "not known")
            raise errors.WaitTimeout(f"Job {self._id} is {state} after {self._timeout_s:g} s of waiting; it goes on.")
