"""A call's single numbers as Python's own: NumPy's count as much, and JSON has none of them. Pure."""

import math
import operator
from collections.abc import Mapping
from dataclasses import replace
from reprlib import repr as shown
from typing import Any, TypeVar

import numpy as np

from fitq.calls import Call, Extras, Fit
from fitq.errors import CannotTravel

Called = TypeVar("Called", bound=Call)

#: Counts that may be None, or 0, which is the same to Keras.
_OPTIONAL = ("batch_size", "steps_per_epoch", "validation_steps", "validation_batch_size", "steps")
#: Counts that a call has always, and the least that each may be.
_LEAST = {"epochs": None, "initial_epoch": 0, "validation_freq": 1}
#: What to do about a value that is no whole number, where there is more to say than `int`.
_REMEDIES = {"validation_freq": "validate every so many epochs, as validation_freq=2 does"}
#: An example of class weights.
_WEIGHTS = "{0: 1.0, 1: 2.5}"


def plain(call: Called) -> Called:
    """Return the call with Python's numbers for everyone else's. Raise `CannotTravel` naming what is none."""
    made: dict[str, Any] = {"extras": _extras(call.extras)}
    for name in _OPTIONAL:
        if getattr(call, name, None) is not None:
            made[name] = count(getattr(call, name), name, least=0) or None
    for name, least in _LEAST.items():
        if hasattr(call, name):
            made[name] = count(getattr(call, name), name, least=least)
    if isinstance(call, Fit):
        made["class_weight"] = _class_weight(call.class_weight)
        made["validation_split"] = _share(call.validation_split)
        made["shuffle"] = bool(call.shuffle) if isinstance(call.shuffle, np.bool_) else call.shuffle
    return replace(call, **made)


def count(value: Any, argument: str, *, least: int | None = None) -> int:
    """Return a whole number, whoever's. Raise `CannotTravel`."""
    if isinstance(value, (bool, np.bool_)):
        raise _no_count(value, argument)
    try:
        found = operator.index(value)
    except TypeError:
        raise _no_count(value, argument) from None
    if least is not None and found < least:
        raise CannotTravel(f"{argument}={found} cannot travel: it must be {least} or more.")
    return found


def _no_count(value: Any, argument: str) -> CannotTravel:
    numeric = isinstance(value, (float, str, bool, np.generic))
    remedy = "put int(…) around it" if numeric else f"give one, such as {argument}=10"
    return CannotTravel(f"{argument} must be a whole number, not {shown(value)}: {_REMEDIES.get(argument, remedy)}.")


def number(value: Any) -> float:
    """Return a number as Python's, NaN for what is none."""
    if isinstance(value, np.floating):
        # A float32 means what it is written as: 0.1, not the double next to it.
        return float(str(value))
    try:
        return math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _share(value: Any) -> float:
    """Return the part of the samples that is kept for validation."""
    found = number(value)
    if not 0 <= found < 1:
        raise CannotTravel(
            f"validation_split must be a number from 0 up to 1, not {shown(value)}: 0.2 is every fifth sample."
        )
    return found


def _class_weight(given: Any) -> dict[int, float] | None:
    """Return the classes' weights by their numbers; none, as in Keras, is as if nothing were given."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        asked = f"class_weight must be a dictionary such as {_WEIGHTS}, not {shown(given)}"
        balance = "scikit-learn's compute_class_weight('balanced', classes=…, y=…) gives such weights, class by class"
        raise CannotTravel(
            f"{asked}: {balance if isinstance(given, str) else 'dict(enumerate(…)) makes one of a list'}."
        )
    return {_class(key): _weight(key, value) for key, value in given.items()} or None


def _class(key: Any) -> int:
    found = number(key)
    if not (found >= 0 and found.is_integer()):
        raise CannotTravel(
            f"class_weight names the class {shown(key)}: give the classes' numbers in y, from 0, as in {_WEIGHTS}."
        )
    return int(found)


def _weight(key: Any, value: Any) -> float:
    found = number(value)
    if not 0 <= found < math.inf:
        raise CannotTravel(
            f"class_weight[{shown(key)}] must be a number, 0 or more, not {shown(value)}, as in {_WEIGHTS}."
        )
    return found


def _extras(extras: Extras) -> Extras:
    made: dict[str, Any] = {"priority": count(extras.priority, "priority")}
    for name in ("seed", "max_dataset_mb"):
        if getattr(extras, name) is not None:
            made[name] = count(getattr(extras, name), name, least=0)
    if extras.timeout_s is not None:
        made["timeout_s"] = number(extras.timeout_s)
        if not made["timeout_s"] > 0:
            raise CannotTravel(
                f"timeout_s must be a number of seconds, not {shown(extras.timeout_s)}: 600 is ten minutes."
            )
    if extras.resources:
        given: Mapping[str, Any] = extras.resources
        made["resources"] = {key: one.item() if isinstance(one, np.generic) else one for key, one in given.items()}
    return replace(extras, **made)
