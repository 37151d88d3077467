"""Predictions on their way out: to a file batch by batch, as they may be larger than memory; in part to a result."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, Self
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.lib import format as npy

from shared.errors import BadSpec
from worker.training import results

#: Numbers, and rows, that a result carries inline, at most.
INLINE_NUMBERS = 10_000
#: Bytes of an output that are kept in memory before they go to the disk.
_MEMORY_BYTES = 16 << 20
#: Bytes, and rows, of a row group of a Parquet file.
_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 131_072
#: Axes of an output whose rows are classes.
CLASS_AXES = 2
#: The name of a model's only output.
SINGLE = "predictions"

#: One batch: the outputs by name.
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Classes:
    """How the numbers of a row are told as classes."""

    #: How many classes each row gets at most in `top`; None where none were asked for.
    top_k: int | None
    names: Sequence[str] | None
    #: What a class's number is: `probability` or `score`.
    word: str

    def best(self, rows: np.ndarray, k: int) -> np.ndarray:
        """Return the k likeliest classes of each row, the likeliest first; of equal ones the lower first."""
        if k == 1:
            return np.asarray(rows.argmax(axis=1))[:, np.newaxis]
        return np.argsort(-rows.astype(np.float64, copy=False), axis=1, kind="stable")[:, :k]

    def one(self, number: int, value: float) -> dict[str, Any]:
        """Return one class as a result says it."""
        name = {} if self.names is None else {"name": self.names[number]}
        return {"class": number, **name, self.word: results.json_numbers(value)}


def told(outputs: Outputs) -> bool:
    """Whether the rows of the outputs are numbers of several classes."""
    array = outputs.get(SINGLE)
    return array is not None and array.ndim == CLASS_AXES and array.shape[1] > 1


class Sink(Protocol):
    """A file in the making."""

    def add(self, outputs: Outputs) -> None:
        """Take a batch."""

    def finish(self) -> None:
        """Write what is not written yet."""


class Npz:
    """An `.npz` file with an array for each output.

    How many rows there are stands before them in such a file, so they wait in a file without a name
    in `folder` until all are there.
    """

    def __init__(self, file: BinaryIO, folder: Path) -> None:
        """Write to an open file."""
        self._file, self._folder = file, folder
        self._spools: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Hold the waiting rows."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the waiting rows."""
        self._open.close()

    def add(self, outputs: Outputs) -> None:
        """Append a batch to what waits."""
        for name, array in outputs.items():
            if name not in self._spools:
                self._spools[name] = self._open.enter_context(
                    tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=str(self._folder))  # noqa: SIM115 - the stack closes it
                )
                self._shapes[name], self._dtypes[name] = (0, *array.shape[1:]), array.dtype
            self._check(name, array)
            self._shapes[name] = (self._shapes[name][0] + len(array), *array.shape[1:])
            self._spools[name].write(np.ascontiguousarray(array).data)

    def _check(self, name: str, array: np.ndarray) -> None:
        if array.shape[1:] != self._shapes[name][1:]:
            raise BadSpec(
                f"The model's output '{name}' has rows of shape {self._shapes[name][1:]} in one batch and "
                f"{array.shape[1:]} in another; they cannot become one array."
            )

    def finish(self) -> None:
        """Write the archive: for each output a header, then its rows."""
        with ZipFile(self._file, "w", ZIP_STORED, allowZip64=True) as archive:
            for name, spool in self._spools.items():
                spool.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    described = npy.dtype_to_descr(self._dtypes[name])
                    header = {"descr": described, "fortran_order": False, "shape": self._shapes[name]}
                    npy.write_array_header_1_0(member, header)
                    shutil.copyfileobj(spool, member, 1 << 20)


class Parquet:
    """A Parquet file with a column for each output, and for the likeliest class of each row; row group by row group."""

    def __init__(self, file: BinaryIO, classes: Classes) -> None:
        """Write to an open file."""
        self._file, self._classes = file, classes
        self._waiting: list[Outputs] = []
        self._bytes = self._rows = self._first = 0
        self._writer: Any = None

    def __enter__(self) -> Self:
        """Hold the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the writer; without `finish` the file is not whole."""
        if self._writer is not None:
            self._writer.close()

    def add(self, outputs: Outputs) -> None:
        """Take a batch; write a row group when there is enough for one."""
        self._waiting.append(outputs)
        self._rows += len(next(iter(outputs.values())))
        self._bytes += sum(array.nbytes for array in outputs.values())
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self._group()

    def finish(self) -> None:
        """Write the rows that wait, and the file's end."""
        if self._waiting:
            self._group()
        self._writer.close()
        self._writer = None

    def _group(self) -> None:
        from pyarrow import parquet

        table = self._table({name: np.concatenate([one[name] for one in self._waiting]) for name in self._waiting[0]})
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)
        self._first += self._rows
        self._waiting, self._bytes, self._rows = [], 0, 0

    def _table(self, outputs: Outputs) -> Any:
        import pyarrow as pa

        columns = {"row": pa.array(np.arange(self._first, self._first + self._rows))}
        if told(outputs):
            columns |= self._class_columns(outputs[SINGLE])
        columns |= {name: _column(array) for name, array in outputs.items()}
        return pa.table(columns)

    def _class_columns(self, rows: np.ndarray) -> dict[str, Any]:
        """Return the columns of classes; of a row with a NaN no class can be told."""
        import pyarrow as pa

        unknown = np.asarray(np.isnan(rows).any(axis=1))
        best = self._classes.best(rows, self._classes.top_k or 1)
        values = np.take_along_axis(rows, best, axis=1)
        columns = {"class": pa.array(best[:, 0].astype(np.int32), mask=unknown)}
        if self._classes.names is not None:
            columns["class_name"] = self._named(pa.array(best[:, 0].astype(np.int32), mask=unknown))
        columns[self._classes.word] = pa.array(values[:, 0], mask=unknown)
        if self._classes.top_k is not None:
            columns["top"] = self._top(best, values, unknown)
        return columns

    def _named(self, numbers: Any) -> Any:
        import pyarrow as pa

        return pa.DictionaryArray.from_arrays(numbers, pa.array(list(self._classes.names or ()), pa.string()))

    def _top(self, best: np.ndarray, values: np.ndarray, unknown: np.ndarray) -> Any:
        import pyarrow as pa

        numbers = pa.array(best.astype(np.int32).reshape(-1))
        parts = {"class": numbers}
        if self._classes.names is not None:
            parts["name"] = self._named(numbers).cast(pa.string())
        parts[self._classes.word] = pa.array(values.reshape(-1))
        structs = pa.StructArray.from_arrays(list(parts.values()), list(parts))
        offsets = pa.array(np.arange(len(best) + 1, dtype=np.int32) * best.shape[1])
        return pa.ListArray.from_arrays(offsets, structs, mask=pa.array(unknown))


def _column(array: np.ndarray) -> Any:
    """Return an output as a column: a number for each row, or a list of as many as each row has, in C order."""
    import pyarrow as pa

    numbers = pa.array(np.ascontiguousarray(array).reshape(-1))
    if array.ndim == 1 or array.shape[1:] == (1,):
        return numbers
    return pa.FixedSizeListArray.from_arrays(numbers, len(numbers) // len(array))


@dataclass
class Answer:
    """What the result says of the predictions: everything while it is little, and always how much there is."""

    classes: Classes
    rows: int = 0
    #: Rows in which a number is NaN or infinite.
    not_finite: int = 0
    _shapes: dict[str, list[int]] = field(default_factory=dict)
    _numbers: list[Any] | None = field(default_factory=list)
    _best: list[int | None] | None = field(default_factory=list)
    _top: list[list[dict[str, Any]] | None] | None = field(default_factory=list)
    _count: int = 0

    def add(self, outputs: Outputs) -> None:
        """Take a batch."""
        length = len(next(iter(outputs.values())))
        self.rows += length
        self._shapes = {name: list(array.shape[1:]) for name, array in outputs.items()}
        finite = [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in outputs.values()]
        self.not_finite += length - int(np.logical_and.reduce(finite).sum())
        self._add_numbers(outputs)
        self._add_classes(outputs)

    def _add_numbers(self, outputs: Outputs) -> None:
        array = outputs.get(SINGLE)
        self._count += 0 if array is None else array.size
        if array is None or self._numbers is None or self._count > INLINE_NUMBERS:
            self._numbers = None
        else:
            self._numbers += results.json_numbers(array.tolist())

    def _add_classes(self, outputs: Outputs) -> None:
        k = self.classes.top_k
        if not told(outputs) or self.rows > INLINE_NUMBERS:
            self._best = self._top = None
        if k is None or self.rows * k > INLINE_NUMBERS:
            self._top = None
        if self._best is None:
            return
        rows = outputs[SINGLE]
        unknown = np.asarray(np.isnan(rows).any(axis=1))
        best = self.classes.best(rows, k or 1)
        self._best += [None if nan else int(numbers[0]) for nan, numbers in zip(unknown, best, strict=True)]
        if self._top is not None:
            pairs = zip(unknown, rows, best, strict=True)
            self._top += [None if nan else [self._one(row, n) for n in numbers] for nan, row, numbers in pairs]

    def _one(self, row: np.ndarray, number: int) -> dict[str, Any]:
        return self.classes.one(int(number), float(row[number]))

    def value(self) -> dict[str, Any]:
        """Return the result's value."""
        shapes = {name: [self.rows, *shape] for name, shape in self._shapes.items()}
        named = self._best is not None and self.classes.names is not None
        return {
            "rows": self.rows,
            "shape": shapes.get(SINGLE, shapes),
            "predictions": self._numbers,
            "classes": self._best,
            "names": self._names() if named else None,
            "top": self._top,
            "not_finite": self.not_finite,
        }

    def _names(self) -> list[str | None]:
        names = self.classes.names or ()
        return [None if number is None else names[number] for number in self._best or ()]
