"""Following several jobs at once: their events in one sequence, as they come."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fitq.errors import FitqError
from fitq.follow import Event, Following
from fitq.jobs import Job

#: Seconds that the readers may take to leave, all together: what they do is to wait.
LEAVE_S = 2.0

_Item = tuple[Job, Event] | FitqError | None


class _Reader(threading.Thread):
    """One job's events, put into a queue that all readers share; None at the end."""

    def __init__(self, job: Job, following: Following, into: "queue.SimpleQueue[_Item]") -> None:
        """Take what to follow."""
        super().__init__(name=f"fitq-watch-{job.id}", daemon=True)
        self._job = job
        self._following = following
        self._into = into

    def run(self) -> None:
        last: FitqError | None = None
        try:
            for event in self._following:
                self._into.put((self._job, event))
        except FitqError as error:
            last = error
        finally:
            self._into.put(last)

    def stop(self) -> None:
        """Have it leave soon."""
        self._following.stop()


@contextmanager
def together(jobs: Sequence[Job], *, timeout_s: float | None = None) -> Iterator[Iterator[tuple[Job, Event]]]:
    """Follow jobs, each in a thread of its own; yield their events until all have ended.

    A job's `data` is what its events have told. The first error of any is raised; so is
    `WaitTimeout` after `timeout_s` seconds.
    """
    items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    readers = [_Reader(job, job.following(timeout_s=timeout_s), items) for job in jobs]
    try:
        for reader in readers:
            reader.start()
        yield _taken(items, len(readers))
    finally:
        for reader in readers:
            reader.stop()
        for reader in readers:
            reader.join(LEAVE_S / len(readers))


def _taken(items: "queue.SimpleQueue[_Item]", running: int) -> Iterator[tuple[Job, Event]]:
    while running:
        item = items.get()
        if isinstance(item, FitqError):
            raise item
        if item is None:
            running -= 1
            continue
        job, event = item
        if event.type == "job":
            job.data = event.data
        yield job, event
