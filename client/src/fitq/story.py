"""What a watched job has been through, told in lines. Pure: events go in, sentences come out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fitq import text
from fitq.follow import TERMINAL, Event


class Line(NamedTuple):
    """One line for the person; `bars` says whether it is worth saying beside bars, too."""

    said: str
    bars: bool = True


@dataclass
class Story:
    """The life of one job, as far as it was heard."""

    job: dict[str, Any]
    #: Metrics by epoch, in the order of their names as Keras logs them.
    epochs: dict[int, dict[str, float | None]] = field(default_factory=dict)
    #: The newest sign of life: phase, epoch, epochs, step, steps, metrics.
    progress: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    attempt: int = 0
    _waits: str = ""

    def __post_init__(self) -> None:
        """Begin with what is known of the job."""
        self.progress = dict(self.job.get("progress") or {})

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.job["id"])

    @property
    def total(self) -> int:
        """Epochs that the job asks for; 0 when it trains nothing."""
        if self.job.get("kind", "train") != "train":
            return 0
        asked = (self.job.get("spec") or {}).get("fit", {}).get("epochs", 1)
        return int(self.progress.get("epochs") or asked)

    @property
    def done(self) -> int:
        """Epochs that are complete."""
        return max(self.epochs, default=-1) + 1

    @property
    def waits(self) -> str:
        """Why the job waits; empty when it does not."""
        return self._waits if self.state in {"", "queued"} else ""

    @property
    def ended(self) -> str:
        """The state in which the job has ended; empty before that."""
        return self.state if self.state in TERMINAL else ""

    def hear(self, event: Event) -> list[Line]:
        """Take in one event; return what is to be said about it."""
        tell = _TELLERS.get(event.type)
        return tell(self, event.data) if tell else []

    def hear_state(self, data: dict[str, Any]) -> list[Line]:
        """Take in a change of state."""
        self.state = str(data.get("state", ""))
        if self.state == "running":
            self.attempt = int(data.get("attempt") or 1)
            self.progress = {}
            return [Line(f"Attempt {self.attempt} runs.")]
        if self.state != "queued" or not data.get("attempt"):
            return []
        error = data.get("error") or {}
        reason = error.get("message") or "its worker stopped in order"
        return [Line(f"Attempt {data['attempt']} ended: {text.line(reason)}"), Line("It is queued again.")]

    def hear_epoch(self, data: dict[str, Any]) -> list[Line]:
        """Take in a finished epoch."""
        epoch, metrics = int(data["epoch"]), dict(data.get("metrics") or {})
        self._forget_from(epoch)
        self.epochs[epoch] = metrics
        return [Line(f"Epoch {epoch + 1}/{max(self.total, epoch + 1)}  {text.metrics(metrics)}", bars=False)]

    def hear_resumed(self, data: dict[str, Any]) -> list[Line]:
        """Take in from where an attempt goes on."""
        self._forget_from(int(data.get("epoch", 0)))
        skipped = [Line(text.line(reason)) for reason in data.get("skipped") or []]
        return [*skipped, Line(f"Attempt {data.get('attempt')} resumed from epoch {data.get('epoch')}.")]

    def _forget_from(self, epoch: int) -> None:
        """Forget epochs that an attempt computes anew."""
        self.epochs = {number: values for number, values in self.epochs.items() if number < epoch}

    def hear_progress(self, data: dict[str, Any]) -> list[Line]:
        """Take in a sign of life."""
        entered = data.get("phase") != self.progress.get("phase") and not data.get("epochs")
        self.progress = data
        return [Line(f"{text.line(data['phase'])} …", bars=False)] if entered and data.get("phase") else []

    def hear_job(self, data: dict[str, Any]) -> list[Line]:
        """Take in the job as it is now."""
        self.job = data
        if data.get("progress"):
            self.hear_progress(data["progress"])
        if data["state"] in TERMINAL or data["state"] == "running":
            return []
        waits = text.line(data.get("waiting_reason") or "")
        changed, self._waits, self.state = waits != self._waits, waits, "queued"
        return [Line(f"Queued. {waits}", bars=False)] if changed else []

    def hear_cancel(self, data: dict[str, Any]) -> list[Line]:
        """Take in a wish to cancel."""
        return [Line("Its end was asked for: " + ("at once." if data.get("mode") == "now" else "after this epoch."))]

    def hear_disconnected(self, data: dict[str, Any]) -> list[Line]:
        """Take in that the server is away."""
        return [Line(f"{text.line(data['message'])} Trying again; the job does not depend on it.")]


_TELLERS: dict[str, Callable[[Story, dict[str, Any]], list[Line]]] = {
    "state": Story.hear_state,
    "resumed": Story.hear_resumed,
    "epoch": Story.hear_epoch,
    "progress": Story.hear_progress,
    "job": Story.hear_job,
    "cancel_requested": Story.hear_cancel,
    "disconnected": Story.hear_disconnected,
}
