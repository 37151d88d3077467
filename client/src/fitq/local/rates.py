"""A LearningRateScheduler's function as the table of rates that it gives."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fitq.errors import CannotTravel


def start(model: Any) -> float:
    """Return the optimizer's rate. Raise `CannotTravel` when it follows a schedule of its own."""
    rate = getattr(model.optimizer, "_learning_rate", None)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        raise CannotTravel(
            "LearningRateScheduler cannot set the rate of an optimizer that follows a schedule of its own: "
            "choose one of the two."
        )
    return float(model.optimizer.learning_rate.numpy())


def tables(schedules: Sequence[Any], rate: float, *, first: int, epochs: int) -> list[list[float]]:
    """Return, for each function, the rate of each absolute epoch from 0; those before `first` are never used.

    The functions are called once for each epoch, in the order of the callbacks, from the optimizer's rate.
    """
    made: list[list[float]] = [[] for _ in schedules]
    for epoch in range(first, epochs):
        for table, schedule in zip(made, schedules, strict=True):
            given = _asked(schedule, epoch, rate)
            table.append(given)
            # The optimizer keeps a float32.
            rate = float(np.float32(given))
    return [[table[0]] * first + table if table else [] for table in made]


def depends_on_rate(schedule: Any, rate: float, *, first: int, epochs: int) -> bool:
    """Whether the function gives other rates when the optimizer's rate is another one."""
    return any(_asked(schedule, epoch, rate) != _asked(schedule, epoch, rate / 2) for epoch in range(first, epochs))


def _asked(schedule: Any, epoch: int, rate: float) -> float:
    """Ask as Keras does: functions of (epoch, rate), and older ones of (epoch)."""
    try:
        given = schedule(epoch, rate)
    except TypeError:
        given = schedule(epoch)
    if not isinstance(given, (float, np.float32, np.float64)):
        raise CannotTravel(f"LearningRateScheduler's function gave {given!r} for epoch {epoch}: it must be a float.")
    return float(given)
