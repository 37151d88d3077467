"""From a spec's data sources to arrays in memory, ready for a model."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared import store
from shared.data_spec import DatasetSource, InlineSource, NpySource, NpzSource, Split, TrainData
from shared.errors import BadData
from worker.training import arrays, datasets
from worker.wire import Assignment

Source = DatasetSource | InlineSource | NpzSource | NpySource

#: Wrong labels that a message names, at most.
_NAMED_LABELS = 3
#: Rows that are scaled at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class Place:
    """Where sources are read from, and how much memory their arrays may take."""

    volume: Path
    datasets: Path | None
    timeout_s: float
    budget: int


@dataclass(frozen=True)
class Samples:
    """Rows of inputs, and their labels if they have any."""

    x: np.ndarray
    y: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.x.nbytes + (0 if self.y is None else self.y.nbytes)


@dataclass(frozen=True)
class Outline:
    """What is known of a source without loading it: rows, shape of one sample, bytes in memory."""

    rows: int
    sample: tuple[int, ...]
    bytes: int


def place(assignment: Assignment) -> Place:
    """Return where an assignment's sources are."""
    memory_mb = assignment.spec.get("resources", {}).get("memory_mb", 2048)
    folder = Path(assignment.datasets) if assignment.datasets else None
    return Place(Path(assignment.volume), folder, assignment.dataset_timeout_s, memory_mb << 20)


def load(source: Source, where: Place, *, labels: bool, scale: float | None, one_hot: int | None) -> Samples:
    """Return a source's arrays: checked, cut to `rows`, scaled, encoded. Raise `BadData`."""
    x, y = _read(source, where, labels=labels)
    if labels and y is None:
        raise BadData("The source has no labels, and this job needs them: give y.")
    if y is not None and len(x) != len(y):
        raise BadData(f"x has {len(x)} rows and y has {len(y)}; each sample needs one label.")
    first, end = _rows(source, len(x))
    x = _scaled(_numbers(x[first:end], "x"), scale)
    if y is None:
        return Samples(x, None)
    y = _numbers(y[first:end], "y")
    _check_finite(y)
    return Samples(x, y if one_hot is None else _one_hot(y, one_hot))


def load_training(
    data: TrainData, where: Place, *, scale: float | None, one_hot: int | None
) -> tuple[Samples, Samples | None]:
    """Return what a train job learns from and what it validates on."""
    train = load(data.train, where, labels=True, scale=scale, one_hot=one_hot)
    if data.validation is None:
        return train, None
    if isinstance(data.validation, Split):
        return split(train, data.validation.split)
    return train, load(data.validation, where, labels=True, scale=scale, one_hot=one_hot)


def split(samples: Samples, fraction: float) -> tuple[Samples, Samples]:
    """Take the last rows for validation, as Keras's `validation_split`."""
    at = split_at(len(samples), fraction)
    x, y = samples.x, samples.y
    return Samples(x[:at], None if y is None else y[:at]), Samples(x[at:], None if y is None else y[at:])


def split_at(rows: int, fraction: float) -> int:
    """Return how many of the first rows stay for training. Raise `BadData` when a part would be empty."""
    at = math.floor(rows * (1.0 - fraction))
    if at in {0, rows}:
        raise BadData(f"{rows} rows cannot be split with validation split {fraction}: one part would be empty.")
    return at


def outline(source: Source, where: Place) -> Outline:
    """Return what a source holds, reading no more than headers. Raise `BadData`."""
    rows, sample, size = _outline(source, where)
    first, end = _rows(source, rows)
    return Outline(end - first, sample, (end - first) * math.prod(sample) * size)


def _outline(source: Source, where: Place) -> tuple[int, tuple[int, ...], int]:
    if isinstance(source, DatasetSource):
        if source.dataset not in datasets.SHAPES:
            datasets.load(source.dataset, source.split, where.datasets, where.timeout_s)  # says why it cannot be
        sample, train, test = datasets.SHAPES[source.dataset]
        return (train if source.split == "train" else test), sample, 4
    if isinstance(source, InlineSource):
        shape = np.shape(source.x)
        return shape[0], shape[1:], 4
    header = _header(source, where)
    return header.shape[0], header.shape[1:], header.dtype.itemsize


def _header(source: NpzSource | NpySource, where: Place) -> arrays.Header:
    path = source.npz if isinstance(source, NpzSource) else source.npy
    with store.open_data(where.volume, path) as file:
        if isinstance(source, NpzSource):
            return arrays.npz_headers(file, path, [source.x])[0]
        return arrays.npy_header(file, path)


def _read(source: Source, where: Place, *, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(source, DatasetSource):
        return datasets.load(source.dataset, source.split, where.datasets, where.timeout_s)
    if isinstance(source, InlineSource):
        return _inline(source.x, "x"), None if source.y is None else _inline(source.y, "y")
    if isinstance(source, NpzSource):
        names = [source.x, source.y] if labels and source.y is not None else [source.x]
        with store.open_data(where.volume, source.npz) as file:
            found = arrays.read_npz(file, source.npz, names, where.budget)
        return found[0], found[1] if len(found) > 1 else None
    return _read_npy(source, where, labels=labels)


def _read_npy(source: NpySource, where: Place, *, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    with store.open_data(where.volume, source.npy) as file:
        x = arrays.read_npy(file, source.npy, where.budget)
    if not labels or source.labels is None:
        return x, None
    with store.open_data(where.volume, source.labels) as file:
        return x, arrays.read_npy(file, source.labels, where.budget - x.nbytes)


def _inline(value: list[Any], name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{name} is no array: {error}.") from error


def _rows(source: Source, count: int) -> tuple[int, int]:
    if source.rows is None:
        return 0, count
    first, end = source.rows
    if end > count:
        raise BadData(f"rows [{first}, {end}] reach beyond the source, which has {count} rows.")
    return first, end


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Refuse what holds no numbers or no rows; floats become float32, as in Keras's `fit`."""
    if array.dtype.kind not in "biuf":
        raise BadData(f"{name} holds {array.dtype}, not numbers of at most 64 bits.")
    if array.size == 0:
        raise BadData(f"{name} is empty: its shape is {array.shape}.")
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _scaled(x: np.ndarray, scale: float | None) -> np.ndarray:
    """Multiply in float64 and keep float32, a few rows at a time: the same bits as `(x * scale)` given to Keras."""
    if scale is None:
        return x
    scaled = np.empty(x.shape, np.float32)
    for first in range(0, len(x), _CHUNK):
        rows = slice(first, first + _CHUNK)
        # A float32 array stays one in NumPy when a Python float multiplies it.
        scaled[rows] = x[rows] * scale
    return scaled


def _check_finite(y: np.ndarray) -> None:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argwhere(~np.isfinite(y.reshape(len(y), -1)).all(axis=1))[0, 0])
        raise BadData(f"The label of row {row} is not a finite number.")


def _one_hot(y: np.ndarray, classes: int) -> np.ndarray:
    flat = y.reshape(-1)
    if flat.size != len(y):
        raise BadData(f"one_hot needs one class number for each row; y has shape {y.shape}.")
    check_labels(flat, classes)
    rows = np.zeros((len(flat), classes), dtype=np.float32)
    rows[np.arange(len(flat)), flat.astype(np.int64)] = 1.0
    return rows


def check_labels(y: np.ndarray, classes: int) -> None:
    """Raise `BadData` naming labels that are no whole number from 0 to `classes` - 1."""
    wrong = (y < 0) | (y >= classes)
    if y.dtype.kind == "f":
        wrong |= y != np.floor(y)
    if wrong.any():
        rows = np.argwhere(wrong.reshape(len(y), -1).any(axis=1))[:, 0]
        named = ", ".join(f"{y[row]} (row {row})" for row in rows[:_NAMED_LABELS])
        more = f" and {len(rows) - _NAMED_LABELS} more" if len(rows) > _NAMED_LABELS else ""
        raise BadData(f"Labels must be whole numbers from 0 to {classes - 1}; found {named}{more}.")
