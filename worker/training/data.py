"""From a spec's data sources to arrays in memory, ready for a model."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.data_spec import Split, TrainData
from shared.errors import BadData
from worker.training import values
from worker.training.sources import arrays
from worker.training.sources.place import Place
from worker.wire import Assignment

Source = arrays.Source


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
    x, y = arrays.read(source, where, labels=labels)
    if labels and y is None:
        raise BadData("The source has no labels, and this job needs them: give y.")
    if y is not None and len(x) != len(y):
        raise BadData(f"x has {len(x)} rows and y has {len(y)}; each sample needs one label.")
    first, end = _rows(source, len(x))
    x = values.scaled(values.numbers(x[first:end], "x"), scale)
    if y is None:
        return Samples(x, None)
    y = values.numbers(y[first:end], "y")
    values.check_finite(y)
    return Samples(x, y if one_hot is None else values.one_hot(y, one_hot))


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
    held = arrays.held(source, where)
    first, end = _rows(source, held.rows)
    return Outline(end - first, held.sample, (end - first) * math.prod(held.sample) * held.itemsize)


def _rows(source: Source, count: int) -> tuple[int, int]:
    if source.rows is None:
        return 0, count
    first, end = source.rows
    if end > count:
        raise BadData(f"rows [{first}, {end}] reach beyond the source, which has {count} rows.")
    return first, end
