"""Arrays that belong together: one, a tuple of them, or a dictionary by the names of a model's inputs or outputs."""

from collections.abc import Callable
from typing import Any


def mapped(change: Callable[[Any], Any], arrays: Any) -> Any:
    """Return the same with each array changed; None stays None."""
    if isinstance(arrays, dict):
        return {name: change(one) for name, one in arrays.items()}
    if isinstance(arrays, tuple):
        return tuple(change(one) for one in arrays)
    return None if arrays is None else change(arrays)


def named(what: str, arrays: Any) -> dict[str, Any]:
    """Return each array by what a message calls it: `x`, `x 0`, `x 'left'`."""
    if isinstance(arrays, dict):
        return {f"{what} '{name}'": one for name, one in arrays.items()}
    if isinstance(arrays, tuple):
        return {f"{what} {index}": one for index, one in enumerate(arrays)}
    return {} if arrays is None else {what: arrays}


def flat(arrays: Any) -> list[Any]:
    """Return the arrays in order."""
    return list(named("", arrays).values())
