"""Arrays that lie in files as they would in memory: read from any row on, without the rows before."""

from dataclasses import dataclass

import numpy as np

from shared.errors import BadData
from shared.sources.arrays import NpySource, NpzSource
from worker.training import arrays
from worker.training.arrays import Header
from worker.training.sources import reader
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place
from worker.training.sources.reader import Field, Rows


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
    """Inputs and labels of which each lies in a file as it would in memory."""

    inputs: Flat
    labels: Flat | None
    weight: None = None
    class_names: None = None

    @property
    def x(self) -> Field:
        """The inputs."""
        return self.inputs.field

    @property
    def y(self) -> Field | None:
        """The labels, if there are any."""
        return None if self.labels is None else self.labels.field

    @property
    def starts(self) -> np.ndarray:
        """The first rows of blocks of equal length."""
        return reader.even_starts(len(self.inputs), reader.BLOCK_BYTES // max(1, self.x.bytes))

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        return Rows(self.inputs.read(first, end), None if self.labels is None else self.labels.read(first, end))


def opened(source: NpzSource | NpySource, where: Place, *, labels: bool) -> FlatReader | None:
    """Open the arrays of a source where they lie; None when they are compressed, or not in C order."""
    named = (source.x, source.y) if isinstance(source, NpzSource) else (source.npy, source.labels)
    if source.sample_weight is not None or any(isinstance(one, (list, dict)) for one in named):
        return None
    found = _npz(source, where, labels=labels) if isinstance(source, NpzSource) else _npy(source, where, labels=labels)
    if any(one is None or (one.header.fortran and len(one.header.shape) > 1) for one in found):
        return None
    x, y = (*found, None)[:2]
    if y is not None and x is not None and len(x) != len(y):
        raise BadData(f"x has {len(x)} rows and y has {len(y)}; each sample needs one label.")
    return None if x is None else FlatReader(x, y)


def _npz(source: NpzSource, where: Place, *, labels: bool) -> list[Flat | None]:
    names = [str(source.x), str(source.y)] if labels and source.y is not None else [str(source.x)]
    file = where.open(source.npz)
    found = arrays.npz_places(file.stream(), source.npz, names)
    return [None if offset is None else Flat(file, header, offset) for header, offset in found]


def _npy(source: NpySource, where: Place, *, labels: bool) -> list[Flat | None]:
    paths = [str(one) for one in ((source.npy, source.labels) if labels else (source.npy,)) if one is not None]
    found: list[Flat | None] = []
    for path in paths:
        file = where.open(path)
        stream = file.stream()
        header = arrays.npy_header(stream, path)
        found.append(Flat(file, header, stream.tell()))
    return found
