"""Room for running jobs on this worker: so many at a time, and one more for a job that someone waits for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.states import Lane


class Slots:
    """Counts what runs here, and the memory that it has been promised."""

    def __init__(self, slots: int) -> None:
        """Have `slots` for the ordinary lanes, and one for the interactive lane."""
        self._ordinary = threading.Semaphore(slots)
        self._interactive = threading.Semaphore(1)
        self._promised: dict[object, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def take(self, lane: Lane) -> Iterator[bool]:
        """Hold a slot for the length of a block; give False at once when none is free."""
        slot = self._interactive if lane == Lane.INTERACTIVE else self._ordinary
        free = slot.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                slot.release()

    def promise(self, who: object, memory_mb: int) -> None:
        """Note the memory that a running job may still grow by, MiB; 0 when it is gone."""
        with self._lock:
            if memory_mb > 0:
                self._promised[who] = memory_mb
            else:
                self._promised.pop(who, None)

    @property
    def promised_mb(self) -> int:
        """Memory that running jobs may still take, MiB."""
        with self._lock:
            return sum(self._promised.values())
