"""What every source gives: how many rows there are, what one of them is like, and consecutive rows on demand."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

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


#: The inputs: one array, or several by the names of the model's inputs.
Fields = Field | Mapping[str, Field]


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
    def y(self) -> Field | None:
        """The labels, if the source has any."""

    @property
    def weight(self) -> Field | None:
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
    inputs = [reader.x] if isinstance(reader.x, Field) else list(reader.x.values())
    return inputs + [field for field in (reader.y, reader.weight) if field is not None]


def sample(reader: Reader) -> Any:
    """Return the shape of one sample; one for each input where there are several."""
    return reader.x.shape if isinstance(reader.x, Field) else {name: one.shape for name, one in reader.x.items()}


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
    def y(self) -> Field | None:
        """The labels, if there are any."""
        return self.whole.y

    @property
    def weight(self) -> Field | None:
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
