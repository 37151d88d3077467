"""A job's progress as Keras shows it: `verbose` 1 draws bars, 2 writes lines, 0 is silent."""

import sys
from typing import Any

import keras

from fitq import text
from fitq.errors import CannotTravel
from fitq.follow import Event
from fitq.jobs import Job
from fitq.story import Story


def level(verbose: str | int) -> int:
    """Return Keras's level of `verbose`; "auto" draws bars, as it does there."""
    if verbose == "auto":
        return 1
    if verbose in {0, 1, 2}:
        return int(verbose)
    raise CannotTravel(f"verbose must be 'auto', 0, 1 or 2, not {verbose!r}.")


class Progress:
    """What is shown of one job while somebody waits for it."""

    def __init__(self, job: Job, verbose: str | int, steps: int = 1) -> None:
        """Take the job, and how many steps an epoch is expected to have; nothing is shown yet."""
        self._story = Story(job.data)
        self._level = level(verbose)
        #: The bar of the epoch that runs, its clock going; and the steps and the epoch that it shows.
        self._bar = self._new_bar()
        self._shown, self._titled = 0, -1
        self._steps = steps
        self._waited = ""

    def _new_bar(self) -> Any:
        # Workers say now and then how an epoch stands: what they say is worth drawing.
        return keras.utils.Progbar(None, verbose=self._level, interval=0, unit_name="step", stateful_metrics=[])

    def hear(self, event: Event) -> None:
        """Take in an event and show what it changes."""
        lines = self._story.hear(event)
        if not self._level:
            return
        if event.type == "state" and event.data.get("state") == "running":
            self._bar, self._shown = self._new_bar(), 0
        if event.type == "epoch":
            self._end_epoch(int(event.data["epoch"]), event.data.get("metrics") or {})
        elif event.type in {"progress", "job"}:
            self._step(self._story.progress)
        # What Keras never has to say: a second attempt, a server that is away, a queue.
        if event.type == "disconnected" or (event.type in {"state", "resumed"} and self._is_again(event)):
            for line in lines:
                self._say(line.said)
        elif self._story.waits != self._waited and not self._is_next:
            self._waited = self._story.waits
            self._say(text.line(self._waited))

    @property
    def _is_next(self) -> bool:
        """Whether the job waits for no other one, and a worker is there: it will not be long."""
        return self._story.waits.startswith("It is next")

    def _is_again(self, event: Event) -> bool:
        return int(event.data.get("attempt") or 0) > 1 or event.data.get("state") == "queued"

    def _say(self, sentence: str) -> None:
        if sentence:
            sys.stdout.write(("\n" if self._shown and self._level == 1 else "") + sentence + "\n")
            sys.stdout.flush()

    def _step(self, now: dict[str, Any]) -> None:
        """Move the bar to the step that the job is at."""
        step, steps = now.get("step"), now.get("steps")
        if not step or not steps or now.get("phase") not in _STEPPING:
            return
        self._steps = steps
        if self._story.total:
            epoch = int(now.get("epoch") or 0)
            if epoch in self._story.epochs:
                return
            self._title(epoch)
        if self._level == 1 and self._shown < step < steps:
            self._draw(step, now.get("metrics") or {}, last=False)

    def _title(self, epoch: int) -> None:
        if self._story.total > 1 and epoch != self._titled:
            sys.stdout.write(f"Epoch {epoch + 1}/{self._story.total}\n")
        self._titled = epoch

    def _draw(self, step: int, metrics: dict[str, Any], *, last: bool) -> None:
        self._shown = step
        self._bar.target = self._steps
        # What a worker says is the epoch's so far, and nothing to be averaged.
        self._bar.stateful_metrics = set(metrics)
        values = [(name, float("nan") if value is None else float(value)) for name, value in metrics.items()]
        self._bar.update(step, values, finalize=last)
        sys.stdout.flush()

    def _end_epoch(self, epoch: int, metrics: dict[str, Any]) -> None:
        self._title(epoch)
        self._draw(self._steps, metrics, last=True)
        self._bar, self._shown = self._new_bar(), 0

    def end(self, metrics: dict[str, Any] | None = None) -> None:
        """Finish the bar of a job without epochs."""
        if self._level:
            self._draw(self._steps, metrics or {}, last=True)


#: Phases whose steps a bar shows; validation is silent, as in Keras.
_STEPPING = frozenset({"training", "compiling", "evaluating", "predicting"})
