"""The threads in which jobs run: one for each slot, and one more for a job that someone waits for.

A bell only wakes a thread. Whoever hears one is done with it at once, so that the broker never waits
for a job to end.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable

from shared import log
from shared.states import Lane

_log = log.get(__name__)


class Slots:
    """Hears bells for its threads, and remembers as many as can matter."""

    def __init__(self, lanes: Iterable[Lane], slots: int) -> None:
        """Have `slots` for the ordinary ones of `lanes`, and one for the interactive lane if it is among them."""
        ordinary: queue.Queue[Lane] = queue.Queue(slots)
        #: One queue for the lanes that share slots, as long as it has threads: each of them will look once more.
        self._bells = {lane: queue.Queue(1) if lane == Lane.INTERACTIVE else ordinary for lane in lanes}
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def ring(self, lane: Lane) -> None:
        """Wake a thread that serves `lane`; one that is busy looks again when its job has ended. Never blocks."""
        if lane in self._bells:
            with contextlib.suppress(queue.Full):
                self._bells[lane].put_nowait(lane)

    def start(self, answer: Callable[[Lane], object]) -> None:
        """Begin: a thread that is woken calls `answer` with the lane whose bell rang."""
        for bells in set(self._bells.values()):
            for _ in range(bells.maxsize):
                thread = threading.Thread(target=self._serve, args=(bells, answer), name="slot", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self, *, until: float) -> bool:
        """Let each thread end what it does; return whether all have ended by `until`, a monotonic time."""
        self._closed.set()
        for lane, bells in self._bells.items():
            with contextlib.suppress(queue.Full):
                while True:
                    bells.put_nowait(lane)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, bells: queue.Queue[Lane], answer: Callable[[Lane], object]) -> None:
        while True:
            lane = bells.get()
            if self._closed.is_set():
                return
            try:
                answer(lane)
            except Exception:  # noqa: BLE001 - a slot lives as long as its worker
                _log.exception("slot failed; it goes on", lane=lane)
