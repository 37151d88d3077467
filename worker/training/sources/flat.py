"""Arrays that lie in files as they would in memory: read from any row on, without the rows before."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from shared.sources.arrays import NpySource, NpzSource
from worker.training import arrays, structure
from worker.training.arrays import Header
from worker.training.sources import arrays as whole
from worker.training.sources import reader
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place
from worker.training.sources.reader import Field, Fields, Rows


@dataclass(frozen=True)
class Flat:
    """One array in a file, in C order, from the byte `offset` on."""

    file: DataFile
    header: Header
    offset: int

    @property
    def field(self) -> Field:
        """What one row is like."""
        return Field(self.header.shape[1:], self.header.dtype.newbyteorder("="))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.header.shape[0]

    def read(self, first: int, end: int) -> np.ndarray:
        """Return the rows from `first` up to `end`. Raise `BadData` when the file was cut short meanwhile."""
        shape = (end - first, *self.header.shape[1:])
        found = np.empty(shape, self.header.dtype)
        self.file.into(memoryview(found.reshape(-1).view(np.uint8)), self.offset + first * self.field.bytes)  # type: ignore[arg-type]
        return found.astype(self.header.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class FlatReader:
    """Arrays of which each lies in a file as it would in memory: inputs, labels and weights, one or several of each."""

    arrays: Rows
    class_names: None = None

    @property
    def x(self) -> Fields:
        """The inputs."""
        return cast("Fields", _fields(self.arrays.x))

    @property
    def y(self) -> Fields | None:
        """The labels, if there are any."""
        return _fields(self.arrays.y)

    @property
    def weight(self) -> Fields | None:
        """The sample weights, if there are any."""
        return _fields(self.arrays.weight)

    @property
    def starts(self) -> np.ndarray:
        """The first rows of blocks of equal length."""
        inputs = structure.flat(self.arrays.x)
        row_bytes = sum(one.field.bytes for one in inputs)
        return reader.even_starts(len(inputs[0]), reader.BLOCK_BYTES // max(1, row_bytes))

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        parts = (self.arrays.x, self.arrays.y, self.arrays.weight)
        return Rows(*(structure.mapped(lambda one: one.read(first, end), part) for part in parts))


def _fields(part: Any) -> Fields | None:
    return cast("Fields | None", structure.mapped(lambda one: one.field, part))


def opened(source: NpzSource | NpySource, where: Place, *, labels: bool) -> FlatReader | None:
    """Open the arrays of a source where they lie; None when one is compressed, or not in C order."""
    parts = whole.parts_of(source, labels=labels)
    names = [name for part in parts if part is not None for name in whole.flat(part)]
    found = _npz(source, names, where) if isinstance(source, NpzSource) else [_npy(path, where) for path in names]
    if any(one is None or (one.header.fortran and len(one.header.shape) > 1) for one in found):
        return None
    rows = Rows(*whole.together(parts, found))
    reader.same_length(rows)
    return FlatReader(rows)


def _npz(source: NpzSource, names: list[str], where: Place) -> list[Flat | None]:
    file = where.open(source.npz)
    found = arrays.npz_places(file.stream(), source.npz, names)
    return [None if offset is None else Flat(file, header, offset) for header, offset in found]


def _npy(path: str, where: Place) -> Flat:
    file = where.open(path)
    stream = file.stream()
    header = arrays.npy_header(stream, path)
    return Flat(file, header, stream.tell())
