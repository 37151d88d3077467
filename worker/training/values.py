"""What is done to a source's numbers before a model sees them: checked, scaled, encoded."""

from collections.abc import Mapping

import numpy as np

from shared.errors import BadData

#: Wrong labels that a message names, at most.
_NAMED_LABELS = 3
#: Rows that are scaled at a time.
_CHUNK = 4096


def numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Refuse what holds no numbers or no rows; floats become float32, as in Keras's `fit`."""
    if array.dtype.kind not in "biuf":
        raise BadData(f"{name} holds {array.dtype}, not numbers of at most 64 bits.")
    if array.size == 0:
        raise BadData(f"{name} is empty: its shape is {array.shape}.")
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def scaled(x: np.ndarray, scale: float | None) -> np.ndarray:
    """Multiply in float64 and keep float32, a few rows at a time: the same bits as `(x * scale)` given to Keras."""
    if scale is None:
        return x
    product = np.empty(x.shape, np.float32)
    for first in range(0, len(x), _CHUNK):
        rows = slice(first, first + _CHUNK)
        # A float32 array stays one in NumPy when a Python float multiplies it.
        product[rows] = x[rows] * scale
    return product


def check_finite(y: np.ndarray, what: str = "label", *, first: int = 0) -> None:
    """Raise `BadData` naming the first row whose label is not finite; `first` is the number of the first row."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = first + int(np.argwhere(~np.isfinite(y.reshape(len(y), -1)).all(axis=1))[0, 0])
        raise BadData(f"The {what} of row {row} is not a finite number.")


def one_hot(y: np.ndarray, classes: int, *, first: int = 0) -> np.ndarray:
    """Return class numbers as one-hot rows. Raise `BadData` for what is none."""
    flat = y.reshape(-1)
    if flat.size != len(y):
        raise BadData(f"one_hot needs one class number for each row; y has shape {y.shape}.")
    check_labels(flat, classes, first=first)
    rows = np.zeros((len(flat), classes), dtype=np.float32)
    rows[np.arange(len(flat)), flat.astype(np.int64)] = 1.0
    return rows


def check_labels(y: np.ndarray, classes: int, *, first: int = 0, output: str = "") -> None:
    """Raise `BadData` naming labels that are no whole number from 0 to `classes` - 1, and their output where given."""
    wrong = (y < 0) | (y >= classes)
    if y.dtype.kind == "f":
        wrong |= y != np.floor(y)
    if wrong.any():
        rows = np.argwhere(wrong.reshape(len(y), -1).any(axis=1))[:, 0]
        named = ", ".join(f"{y[row]} (row {first + row})" for row in rows[:_NAMED_LABELS])
        more = f" and {len(rows) - _NAMED_LABELS} more" if len(rows) > _NAMED_LABELS else ""
        who = f"Labels of output '{output}'" if output else "Labels"
        raise BadData(f"{who} must be whole numbers from 0 to {classes - 1}; found {named}{more}.")


def class_weights(y: np.ndarray, by_class: Mapping[int, float]) -> np.ndarray:
    """Return each row's weight by its class, as Keras's `class_weight`: 1 for a class that is not named.

    Classes are whole numbers (rounded), or the place of the greatest number in a row.
    """
    if y.ndim > 2:  # noqa: PLR2004 - rows, and numbers in a row
        raise BadData(f"class_weight needs one class for each row; y has shape {y.shape}.")
    flat = y.reshape(-1) if y.size == len(y) else np.argmax(y, axis=-1)
    found, places = np.unique(np.round(flat).astype(np.int32), return_inverse=True)
    weights = np.array([by_class.get(int(one), 1.0) for one in found], np.float32)
    return weights[places.reshape(-1)]
