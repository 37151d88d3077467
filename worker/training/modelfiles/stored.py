"""An array in a file, found and not yet read, and how it becomes the value of a variable."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import ml_dtypes
import numpy as np

from shared.errors import BadData
from worker.training import state

#: Kinds of floating-point numbers that a variable takes from each other.
_FLOATS = (np.floating, ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Stored:
    """One array: the file and the place in it as messages name them, what its header says, and how to read it."""

    label: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]


def check_fits(stored: Stored, variable: Any, owner: str) -> None:
    """Raise `BadData` naming both shapes when an array is no value for a variable (`owner` says whose it is).

    Checked before anything is read: no array that is read is larger than its variable.
    """
    wanted = tuple(variable.shape)
    if stored.shape != wanted:
        raise BadData(
            f"{stored.label}: '{stored.path}' has shape {shown(stored.shape)}; {owner} takes shape {shown(wanted)}."
        )
    if _is_float(stored.dtype) and not _is_float(dtype_of(variable)):
        raise BadData(f"{stored.label}: '{stored.path}' holds {stored.dtype}; {owner} takes {dtype_of(variable)}.")


def assign(pairs: Iterable[tuple[Any, Stored]]) -> None:
    """Give variables their values, one after another; `check_fits` must have passed."""
    for variable, stored in pairs:
        variable.assign(value(stored, variable))


def value(stored: Stored, variable: Any) -> np.ndarray:
    """Read an array as a variable's type of number."""
    return stored.read().astype(dtype_of(variable), copy=False)


def dtype_of(variable: Any) -> np.dtype[Any]:
    """Return a variable's type as NumPy has it."""
    return state.numpy_dtype(keras.backend.standardize_dtype(variable.dtype))


def _is_float(dtype: np.dtype[Any]) -> bool:
    return any(np.issubdtype(dtype, kind) for kind in _FLOATS)


def shown(shape: tuple[int, ...]) -> str:
    """Return a shape as messages write it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
