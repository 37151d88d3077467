"""Signs of life: progress messages, not too many."""

import time
from collections.abc import Callable

from worker.training.port import Report
from worker.wire import Progress

#: Seconds between two progress messages of one phase, at least.
INTERVAL_S = 0.25


class Pulse:
    """Say how far an attempt is: at once when the phase changes, else at most every `INTERVAL_S`."""

    def __init__(self, report: Report, *, epochs: int = 0, steps: int = 0) -> None:
        """Take how much there is to do; `steps` is an epoch's."""
        self._report = report
        self._epochs = epochs
        self._steps = steps
        self._phase = ""
        self._next = 0.0

    def phase(self, name: str, *, epoch: int = 0, step: int = 0, steps: int | None = None) -> None:
        """Enter a phase."""
        self._phase = name
        self._steps = self._steps if steps is None else steps
        self._say(epoch, step, {})

    def beat(self, epoch: int, step: int, metrics: Callable[[], dict[str, float]]) -> None:
        """Say the position within the phase if it is time; only then are the metrics asked for."""
        if time.monotonic() >= self._next:
            self._say(epoch, step, metrics())

    def _say(self, epoch: int, step: int, metrics: dict[str, float]) -> None:
        self._next = time.monotonic() + INTERVAL_S
        self._report.say(Progress(self._phase, epoch, self._epochs, step, self._steps, metrics))
