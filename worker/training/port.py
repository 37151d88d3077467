"""What training asks of the world: a `Report`. `worker/runner.py` fulfils it with a pipe, tests with a list."""

from typing import Protocol

from worker.wire import Artifact, Checkpointed, Epoch, Progress, Resumed, Started


class Report(Protocol):
    """Where training says what happens, and learns whether it should stop.

    `say` blocks while the other side is behind, and never drops a message but a `Progress` that a
    newer one replaces.
    """

    def say(self, message: Started | Resumed | Progress | Epoch | Checkpointed | Artifact) -> None:
        """Tell the supervisor."""

    def stop_mode(self) -> str | None:
        """Return `after_epoch` or `release` when the runner was asked to stop, else None. Cheap: ask each step."""

    def save_asked(self) -> bool:
        """Whether a checkpoint was asked for since the last question. Cheap: ask each step."""
