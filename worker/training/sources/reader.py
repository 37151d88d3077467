"""What every source gives: how many rows there are, what one of them is like, and consecutive rows on demand."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shared.errors import BadData
from worker.training import structure

#: Bytes that are read at a time, about: enough to be quick, few enough that a window mixes many blocks.
BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Field:
    """What one row has of one array: the shape, and the type of the numbers as the source gives them."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


#: One array, or several: in the order of the model's inputs or outputs, or by their names.
Fields = Field | tuple[Field, ...] | Mapping[str, Field]


@dataclass(frozen=True)
class Rows:
    """Consecutive rows, as the source has them."""

    #: Each one array, or several: a tuple, or by the names of inputs or outputs.
    x: Any
    y: Any = None
    weight: Any = None

    def __getitem__(self, rows: slice) -> "Rows":
        """Return some of the rows."""
        return Rows(*(structure.mapped(lambda array: array[rows], part) for part in (self.x, self.y, self.weight)))


class Reader(Protocol):
    """A source that was opened: its headers are read and checked, its rows are not."""

    @property
    def x(self) -> Fields:
        """The inputs."""

    @property
    def y(self) -> Fields | None:
        """The labels, if the source has any."""

    @property
    def weight(self) -> Fields | None:
        """The sample weights, if the source has any."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the numbers of the labels stand for, where the source says it."""

    @property
    def starts(self) -> np.ndarray:
        """The first row of each block that is read at once, in order, and the number of rows at the end."""

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`. Raise `BadData` naming what is wrong and where."""


def rows(reader: Reader) -> int:
    """Return the number of rows."""
    return int(reader.starts[-1])


def fields(reader: Reader) -> list[Field]:
    """Return all fields of a reader."""
    return [field for part in (reader.x, reader.y, reader.weight) for field in structure.flat(part)]


def sample(x: Fields) -> Any:
    """Return the shape of one sample; a list or a dictionary of them where there are several inputs."""
    shapes = structure.mapped(lambda field: field.shape, x)
    return list(shapes) if isinstance(x, tuple) else shapes


def same_length(rows: Rows) -> int:
    """Return the number of rows. Raise `BadData` naming the arrays that differ in it."""
    parts = {"x": rows.x, "y": rows.y, "sample_weight": rows.weight}
    lengths = {name: len(array) for what, part in parts.items() for name, array in structure.named(what, part).items()}
    (first, count), *others = lengths.items()
    for name, length in others:
        if length != count:
            raise BadData(f"{first} has {count} rows and {name} has {length}; each sample needs one of each.")
    return count


def even_starts(count: int, each: int) -> np.ndarray:
    """Return the first rows of blocks of equal length, the last of which may be shorter, and the number of rows."""
    return np.append(np.arange(0, count, max(1, each), dtype=np.int64), count)


@dataclass(frozen=True)
class Cut:
    """Some consecutive rows of a reader."""

    whole: Reader
    first: int
    end: int

    @property
    def x(self) -> Fields:
        """The inputs."""
        return self.whole.x

    @property
    def y(self) -> Fields | None:
        """The labels, if there are any."""
        return self.whole.y

    @property
    def weight(self) -> Fields | None:
        """The sample weights, if there are any."""
        return self.whole.weight

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the numbers of the labels stand for."""
        return self.whole.class_names

    @property
    def starts(self) -> np.ndarray:
        """The first row of each block; the first and the last block may be parts of the whole's."""
        inner = self.whole.starts
        inside = inner[(inner > self.first) & (inner < self.end)]
        return np.concatenate([[self.first], inside, [self.end]]) - self.first

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        return self.whole.read(self.first + first, self.first + end)


def pieces(first: int, end: int, each: int) -> Iterator[tuple[int, int]]:
    """Yield a range of rows in pieces of at most `each`."""
    for begin in range(first, end, max(1, each)):
        yield begin, min(begin + each, end)
