"""Keras callbacks of a job: the spec's own, and the one that streams epochs."""

import math
from typing import Any

import keras

from shared import architecture
from shared.errors import BadSpec
from worker.training import events, recorders, state
from worker.training.faults import explained
from worker.training.files import Files
from worker.training.port import Report
from worker.wire import Epoch

#: The hooks that need every batch's logs, and therefore a look at the device after each step.
_TRAIN_BATCH = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_TEST_BATCH = ("on_test_batch_begin", "on_test_batch_end")
#: Names of metrics of which more is better, where Keras's metric does not say.
_GREATER = ("acc", "auc", "precision", "recall", "f1", "fscore", "iou", "r2", "specificity", "sensitivity")


class EpochStream(keras.callbacks.Callback):  # type: ignore[misc]
    """Report each epoch's logs, after the spec's callbacks have added theirs."""

    def __init__(self, report: Report) -> None:
        """Take where to report."""
        super().__init__()
        self._report = report
        #: The newest epoch's logs.
        self.last: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Say the epoch."""
        self.last = numbers(logs)
        self._report.say(Epoch(epoch, self.last))


def numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    """Return Keras's logs as plain floats, NaN and the infinities included."""
    return {name: float(value) for name, value in (logs or {}).items() if isinstance(value, (int, float))}


def build(specs: list[str | dict[str, Any]], model: Any, files: Files) -> list[Any]:
    """Return the spec's callbacks, their files in `files`. Raise `BadSpec` for one that cannot work on this model."""
    configs = [architecture.checked_callback(spec) for spec in specs]
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    scheduled = isinstance(getattr(optimizer, "_learning_rate", None), keras.optimizers.schedules.LearningRateSchedule)
    for name in (config["class_name"] for config in configs):
        if scheduled and name in {"ReduceLROnPlateau", "LearningRateScheduler"}:
            raise BadSpec(f"{name} cannot change a learning rate that follows a schedule: choose one of the two.")
        if name == "SwapEMAWeights" and not getattr(optimizer, "use_ema", False):
            raise BadSpec("SwapEMAWeights needs an optimizer with use_ema: true.")
    return [_callback(config["class_name"], config["config"], files) for config in configs]


def _callback(name: str, arguments: dict[str, Any], files: Files) -> Any:
    # Callbacks have no from_config; the allow-list has checked the name and every argument.
    with explained(f"The callback {name} cannot be made"):
        match name:
            case "LearningRateScheduler":
                return recorders.RateTable(**arguments)
            case "CSVLogger":
                return recorders.CSVLogger(files, **arguments)
            case "ModelCheckpoint":
                return recorders.ModelCheckpoint(files, **arguments)
            case "TensorBoard":
                return events.EventLog(files, **arguments)
            case _:
                return getattr(keras.callbacks, name)(**arguments)


def wants_train_batches(callbacks: list[Any]) -> bool:
    """Whether some callback looks at single training batches."""
    return any(_overrides(callback, _TRAIN_BATCH) for callback in callbacks)


def wants_test_batches(callbacks: list[Any]) -> bool:
    """Whether some callback looks at single validation batches."""
    return any(_overrides(callback, _TEST_BATCH) for callback in callbacks)


def _overrides(callback: Any, hooks: tuple[str, ...]) -> bool:
    return getattr(callback, "by_batch", True) and any(
        getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook) for hook in hooks
    )


def capture(callbacks: list[Any]) -> tuple[list[dict[str, Any]], state.Arrays]:
    """Return the callbacks' states as JSON, and the arrays that these name."""
    arrays: state.Arrays = {}
    return [state.capture(one, arrays, f"callbacks.{index}") for index, one in enumerate(callbacks)], arrays


def restore(callbacks: list[Any], states: list[dict[str, Any]], arrays: state.Arrays) -> None:
    """Set the callbacks' states; after `on_train_begin`, in which Keras's own reset them."""
    for callback, saved in zip(callbacks, states, strict=True):
        state.restore(callback, saved, arrays)


def greater_is_better(monitor: str, mode: str, model: Any) -> bool:
    """Whether a greater value of the monitored metric is better; `auto` as Keras's ModelCheckpoint decides."""
    if mode != "auto":
        return mode == "max"
    name = monitor.removeprefix("val_")
    for metric in _metrics(model):
        if metric.name == name and hasattr(metric, "_direction"):
            return bool(metric._direction == "up")  # noqa: SLF001 - Keras keeps it from no callback
    return any(part in name for part in _GREATER)


def _metrics(model: Any) -> list[Any]:
    """Return the model's metrics, those that `compile` holds together included."""
    return [part for metric in model.metrics for part in (metric, *getattr(metric, "metrics", ()))]


def is_nan(value: float | None) -> bool:
    """Whether a logged value is NaN."""
    return value is not None and math.isnan(value)
