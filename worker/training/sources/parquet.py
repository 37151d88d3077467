"""Parquet files: row groups are read in turn, columns of numbers side by side, or one column of lists as an array."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.errors import BadData
from shared.sources.files import FEATURE_NUMBERS, ParquetSource
from worker.training.sources import classes
from worker.training.sources.csvfile import chosen
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place
from worker.training.sources.reader import Field, Rows

#: Rows that are decoded at a time, and bytes of them, at most.
_ROWS, _BYTES = 8192, 1 << 22
#: Bytes of a text in a footer, and items of a list in it, at most.
_FOOTER_TEXT, _FOOTER_ITEMS = 1 << 24, 1 << 20
#: Axes of a column of lists, at most.
_AXES = 8


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise BadData(f"{label} is no readable Parquet file: {said}.") from error


@dataclass
class ParquetReader:
    """A Parquet file whose footer was read."""

    source: ParquetSource
    file: DataFile
    table: pq.ParquetFile
    columns: list[str]
    labels: bool
    x: Field
    y: Field | None
    weight: Field | None
    class_names: tuple[str, ...] | None = None
    #: The row group that is being read, the row that comes next in it, what was decoded of it, and what is left.
    _at: tuple[int, int] = (-1, 0)
    _batch: pa.RecordBatch | None = field(default=None)
    _batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))

    @property
    def starts(self) -> np.ndarray:
        """The first row of each row group."""
        metadata = self.table.metadata
        return np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        with _readable(self.file.label):
            parts = []
            while first < end:
                batch = self._from(first)[: end - first]
                parts.append(batch)
                first += len(batch)
            self.file.check()
            return self._rows(pa.Table.from_batches(parts), first - sum(map(len, parts)))

    def _from(self, row: int) -> pa.RecordBatch:
        """Return decoded rows from one on: what is left of the last batch, or what follows in its row group."""
        group = int(np.searchsorted(self.starts, row, "right")) - 1
        if self._at[0] != group or row < self._at[1]:
            self._batches = self.table.iter_batches(
                self._batch_rows, row_groups=[group], columns=self._wanted(), use_threads=False
            )
            self._at, self._batch = (group, int(self.starts[group])), None
        skipped = row - self._at[1]
        batch = self._batch
        while batch is None or skipped >= len(batch):
            skipped -= 0 if batch is None else len(batch)
            batch = next(self._batches, None)
            if batch is None:
                raise BadData(f"{self.file.label}: row group {group} has fewer rows than it says.")
        rest = batch[skipped:]
        self._batch = rest
        self._at = (group, row)
        return rest

    @property
    def _batch_rows(self) -> int:
        return max(1, min(_ROWS, _BYTES // max(1, self.x.bytes)))

    def _wanted(self) -> list[str]:
        extra = [self.source.label, self.source.sample_weight] if self.labels else []
        return [*self.columns, *(name for name in extra if name is not None)]

    def _rows(self, table: pa.Table, first: int) -> Rows:
        values = [self._values(table, name, first) for name in self.columns]
        x = values[0] if len(self.x.shape) != 1 or values[0].ndim > 1 else np.stack(values, axis=1)
        label = self.source.label if self.y is not None else None
        y = None if label is None else self._label(table, label, first)
        weight = self.source.sample_weight if self.weight is not None else None
        return Rows(
            x.astype(self.x.dtype, copy=False), y, None if weight is None else self._values(table, weight, first)
        )

    def _label(self, table: pa.Table, label: str, first: int) -> np.ndarray:
        if self.class_names is None:
            return self._values(table, label, first)
        column = _plain(table.column(label))
        if column.null_count:
            raise BadData(self._null(label, column, first))
        words = column.to_pylist()
        return classes.numbers(words, self.class_names, lambda row: f"{self.file.label}, row {first + row}")

    def _values(self, table: pa.Table, name: str, first: int) -> np.ndarray:
        """Return a column as an array. Raise `BadData` naming the row of what is missing or of another length."""
        column = _plain(table.column(name))
        shape: list[int] = []
        each = 1
        for wanted in self.x.shape if name in self.columns and _is_list(column.type) else ():
            lengths = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
            if (wrong := np.flatnonzero(lengths != wanted)).size:
                row = first + int(wrong[0]) // each
                what = (
                    "is missing" if lengths[wrong[0]] < 0 else f"has {lengths[wrong[0]]} values; the first has {wanted}"
                )
                raise BadData(f"{self.file.label}, row {row}, column '{name}': the list {what}.")
            column = pc.list_flatten(column)
            shape.append(wanted)
            each *= wanted
        if column.null_count:
            raise BadData(self._null(name, column, first, each))
        kind = column.type
        column = column.cast(pa.float64()) if pa.types.is_decimal(kind) else column
        return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(len(table), *shape)

    def _null(self, name: str, column: Any, first: int, each: int = 1) -> str:
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))) // each
        return f"{self.file.label}, row {row}, column '{name}': the value is missing."

    def learn_classes(self, names: tuple[str, ...] | None) -> None:
        """Find the classes of labels that are words, unless they are given."""
        label = self.source.label
        if label is None or not self.labels or not _is_text(self.table.schema_arrow.field(label).type):
            return
        words: set[str] = set()
        with _readable(self.file.label):
            for batch in self.table.iter_batches(_ROWS, columns=[label], use_threads=False) if names is None else ():
                found = _plain(pa.chunked_array([batch.column(0)])).drop_null().unique().to_pylist()
                classes.found(found, words, self.file.label)
        self.class_names = names or tuple(sorted(words))


def _plain(column: pa.ChunkedArray) -> Any:
    """Return a column as one array, its dictionary resolved."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _number(kind: pa.DataType, label: str, name: str) -> np.dtype[Any]:
    """Return NumPy's type of a column's numbers. Raise `BadData` when they are none."""
    types = pa.types
    if types.is_decimal(kind):
        return np.dtype(np.float64)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise BadData(f"{label}, column '{name}' holds {str(kind)[:60]}, not numbers; name others in columns.")
    found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return found


def opened(source: ParquetSource, where: Place, *, labels: bool, class_names: tuple[str, ...] | None) -> ParquetReader:
    """Open a Parquet file. Raise `BadData`."""
    file = where.open(source.parquet)
    with _readable(file.label):
        table = pq.ParquetFile(
            file.stream(),
            pre_buffer=False,
            thrift_string_size_limit=_FOOTER_TEXT,
            thrift_container_size_limit=_FOOTER_ITEMS,
        )
        schema = table.schema_arrow
    if table.metadata.num_rows == 0:
        raise BadData(f"{file.label} has no rows.")
    columns = chosen(schema.names, source.label, source.sample_weight, source.columns, file.label)
    x = _inputs(table, schema, columns, file.label)
    y = _single(schema, source.label if labels else None, file.label)
    weight = _single(schema, source.sample_weight if labels else None, file.label)
    reader = ParquetReader(source, file, table, columns, labels, x, y, weight)
    reader.learn_classes(class_names)
    return reader


def _single(schema: pa.Schema, name: str | None, label: str) -> Field | None:
    if name is None:
        return None
    kind = schema.field(name).type
    return Field((), np.dtype(np.int64) if _is_text(kind) else _number(kind, label, name))


def _inputs(table: pq.ParquetFile, schema: pa.Schema, columns: list[str], label: str) -> Field:
    kinds = [schema.field(name).type for name in columns]
    if any(_is_list(kind) for kind in kinds):
        if len(columns) > 1:
            raise BadData(f"{label} has several columns, some of lists; name one column of lists in columns.")
        return _lists(table, kinds[0], columns[0], label)
    numbers = [_number(kind, label, name) for kind, name in zip(kinds, columns, strict=True)]
    return Field((len(columns),), np.result_type(*numbers))


def _lists(table: pq.ParquetFile, kind: pa.DataType, name: str, label: str) -> Field:
    """Return the shape of the first row's list, which is that of all."""
    shape: list[int] = []
    with _readable(label):
        batch = next(table.iter_batches(1, columns=[name], use_threads=False), None)
    value = batch.column(0)[0].as_py() if batch is not None else None
    while _is_list(kind):
        if not isinstance(value, list) or not value:
            raise BadData(f"{label}, row 0, column '{name}': the list is empty or missing.")
        shape.append(len(value))
        kind, value = kind.value_type, value[0]
    if len(shape) > _AXES or int(np.prod(shape, dtype=object)) > FEATURE_NUMBERS:
        raise BadData(f"{label}, column '{name}': one row has shape {tuple(shape)}, which is too large.")
    return Field(tuple(shape), _number(kind, label, name))
