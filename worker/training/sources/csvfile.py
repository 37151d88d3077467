"""CSV files (RFC 4180, UTF-8, with a header): Arrow parses blocks of rows, and what it refuses is named by line."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow

from shared.errors import BadData
from shared.sources.files import COLUMNS_MOST, CsvSource
from worker.training.sources import classes, lines
from worker.training.sources.datafile import DataFile
from worker.training.sources.lines import Lines
from worker.training.sources.place import Place
from worker.training.sources.reader import Field, Rows

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)\s*", re.IGNORECASE)
_FLOAT, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)


@dataclass
class CsvReader:
    """A CSV file whose rows were found; with labels, all of them were looked at."""

    source: CsvSource
    file: DataFile
    lines: Lines
    header: list[str]
    columns: list[str]
    labels: bool
    class_names: tuple[str, ...] | None = None
    _label: pa.DataType = field(default_factory=pa.float64)
    _held: tuple[int, Rows] | None = field(default=None)

    @property
    def x(self) -> Field:
        """One number for each column."""
        return Field((len(self.columns),), _FLOAT)

    @property
    def y(self) -> Field | None:
        """The label, if there is one."""
        wanted = self.labels and self.source.label is not None
        return Field((), _FLOAT if self._label == pa.float64() else _INTEGER) if wanted else None

    @property
    def weight(self) -> Field | None:
        """The sample weight, if there is one."""
        return Field((), _FLOAT) if self.labels and self.source.sample_weight is not None else None

    @property
    def starts(self) -> np.ndarray:
        """The first row of each block."""
        return self.lines.starts

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        found = []
        while first < end:
            block = int(np.searchsorted(self.starts, first, "right")) - 1
            begin, last = int(self.starts[block]), min(end, int(self.starts[block + 1]))
            found.append(self._block(block)[first - begin : last - begin])
            first = last
        return found[0] if len(found) == 1 else _together(found)

    def _block(self, block: int) -> Rows:
        if self._held is None or self._held[0] != block:
            self._held = (block, self._parsed(block))
        return self._held[1]

    def _parsed(self, block: int) -> Rows:
        label = self.source.label if self.labels else None
        weight = self.source.sample_weight if self.labels else None
        types = dict.fromkeys([*self.columns, *([weight] if weight else [])], pa.float64())
        if label is not None:
            types[label] = self._label
        table = self._table(block, types)
        x = np.empty((len(table), len(self.columns)), np.float64)
        for number, name in enumerate(self.columns):
            x[:, number] = _numpy(table, name)
        y = None if label is None else self._labels_of(block, table, label)
        return Rows(x, y, _numpy(table, weight) if weight else None)

    def _labels_of(self, block: int, table: pa.Table, label: str) -> np.ndarray:
        if self._label != pa.string():
            return _numpy(table, label)
        words = table.column(label).to_pylist()
        return classes.numbers(words, self.class_names or (), lambda row: self._place(block, row))

    def learn_labels(self, names: tuple[str, ...] | None) -> None:
        """Look at all labels: numbers, or words, whose classes are `names` or those that are found."""
        label = self.source.label
        if label is None:
            return
        words: set[str] = set()
        numeric: bool | None = None
        whole = True
        for block in range(len(self.lines.lines)):
            column = pc.utf8_trim_whitespace(self._table(block, {label: pa.string()}).column(label))
            number = _cast(column, pa.float64())
            whole = whole and number and _cast(column, pa.int64())
            numeric = number if numeric is None else numeric
            if number != numeric or (not number and self._some_number(column)):
                raise BadData(self._odd_label(numeric=numeric))
            if not number:
                classes.found(
                    self._table(block, {label: pa.string()}).column(label).unique().to_pylist(), words, self.file.label
                )
        self._label = pa.string() if not numeric or names else pa.int64() if whole else pa.float64()
        if self._label == pa.string():
            self.class_names = names or tuple(sorted(words))

    @staticmethod
    def _some_number(column: pa.ChunkedArray) -> bool:
        return any(_NUMBER.fullmatch(word) for word in column.unique().to_pylist())

    def _odd_label(self, *, numeric: bool) -> str:
        """Name the first label that is a number where the first is none, or the other way round."""
        label = self.source.label
        assert label is not None  # noqa: S101 - only asked where there are labels
        kinds: set[bool] = set()
        for block in range(len(self.lines.lines)):
            for row, word in enumerate(self._table(block, {label: pa.string()}).column(label).to_pylist()):
                kinds.add(_NUMBER.fullmatch(word) is not None)
                if len(kinds) > 1:
                    said = (
                        "is no number, as the labels before it are" if False not in kinds - {numeric} else "is a number"
                    )
                    what = "is empty" if not word.strip() else said if numeric else "is a number, and others are words"
                    return f"{self._place(block, row)}, column '{label}': the label {word[:60]!r} {what}."
        return f"{self.file.label}: the labels in column '{label}' are partly numbers and partly words."

    # --- one block's text ---

    def _table(self, block: int, types: dict[str, pa.DataType]) -> pa.Table:
        begin, end = int(self.lines.offsets[block]), int(self.lines.offsets[block + 1])
        data = self.file.at(begin, end - begin)
        rows = int(self.starts[block + 1] - self.starts[block])
        if not rows:
            return pa.table({name: pa.array([], kind) for name, kind in types.items()})
        try:
            table = arrow.read_csv(
                pa.BufferReader(data),
                arrow.ReadOptions(column_names=self.header, use_threads=False, block_size=len(data) + 1),
                arrow.ParseOptions(delimiter=self.source.delimiter, newlines_in_values=True),
                arrow.ConvertOptions(
                    column_types=types, include_columns=list(types), null_values=[], strings_can_be_null=False
                ),
            )
        except (pa.ArrowException, ValueError) as error:
            raise BadData(self._broken(block, data, types, error)) from error
        if len(table) != rows:
            raise BadData(self._broken(block, data, types, ValueError("a quote stands within a field")))
        return table

    def _rows(self, block: int, data: bytes) -> Iterator[tuple[int, list[str]]]:
        """Yield each row's first line and fields, strictly read."""
        before = csv.field_size_limit(1 << 25)
        try:
            text = io.StringIO(data.decode("utf-8", "replace"), newline="")
            found = csv.reader(text, delimiter=self.source.delimiter, strict=True)
            line = int(self.lines.lines[block])
            begun = line
            try:
                for row in found:
                    if row:
                        yield begun, row
                    begun = line + found.line_num
            except csv.Error as error:
                raise BadData(f"{self.file.label}, line {begun}: {error}.") from error
        finally:
            csv.field_size_limit(before)

    def _place(self, block: int, row: int) -> str:
        begin, end = int(self.lines.offsets[block]), int(self.lines.offsets[block + 1])
        for number, (line, _) in enumerate(self._rows(block, self.file.at(begin, end - begin))):
            if number == row:
                return f"{self.file.label}, line {line}"
        return self.file.label

    def _broken(self, block: int, data: bytes, types: dict[str, pa.DataType], error: Exception) -> str:
        """Say which line is broken, and how."""
        numeric = {self.header.index(name): name for name, kind in types.items() if kind != pa.string()}
        try:
            for line, row in self._rows(block, data):
                if (wrong := self._wrong(row, numeric)) is not None:
                    return f"{self.file.label}, line {line}{wrong}"
        except BadData as found:
            return found.message
        first = int(self.lines.lines[block])
        return f"{self.file.label} cannot be read from line {first} on: {str(error).splitlines()[0][:200]}."

    def _wrong(self, row: list[str], numeric: dict[int, str]) -> str | None:
        if len(row) != len(self.header):
            return f": the row has {len(row)} fields, and the header {len(self.header)}."
        if any("\ufffd" in cell for cell in row):
            return ": the text is not UTF-8."
        for number, name in numeric.items():
            cell = row[number]
            if not cell.strip():
                return f", column '{name}': the cell is empty."
            if not _NUMBER.fullmatch(cell):
                return f", column '{name}': {cell[:60]!r} is no number."
        if any('"' in cell for cell in row):
            return ": a quote stands within a field; write it twice, and the field in quotes."
        return None


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    found: np.ndarray = table.column(name).to_numpy()
    return found


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _together(rows: list[Rows]) -> Rows:
    y = [one.y for one in rows if one.y is not None]
    weight = [one.weight for one in rows if one.weight is not None]
    x = np.concatenate([np.asarray(one.x) for one in rows])
    return Rows(x, np.concatenate(y) if y else None, np.concatenate(weight) if weight else None)


def opened(source: CsvSource, where: Place, *, labels: bool, class_names: tuple[str, ...] | None) -> CsvReader:
    """Open a CSV file. Raise `BadData` naming the file and the line."""
    file = where.open(source.csv)
    found = lines.scan(file)
    header = _header(found.header, file.label, source.delimiter)
    columns = chosen(header, source.label, source.sample_weight, source.columns, file.label)
    reader = CsvReader(source, file, found, header, columns, labels)
    if labels:
        reader.learn_labels(class_names)
    return reader


def _header(data: bytes, label: str, delimiter: str) -> list[str]:
    try:
        names = next(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError as error:
        raise BadData(f"{label}, line 1: the text is not UTF-8.") from error
    except csv.Error as error:
        raise BadData(f"{label}, line 1: {error}.") from error
    if not 0 < len(names) <= COLUMNS_MOST:
        raise BadData(f"{label}, line 1: the header must name 1 to {COLUMNS_MOST} columns.")
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise BadData(f"{label}, line 1: the header names the column {twice[:60]!r} twice.")
    return names


def chosen(names: list[str], label: str | None, weight: str | None, columns: list[str] | None, where: str) -> list[str]:
    """Return the columns of inputs. Raise `BadData` naming one that is not there."""
    for name in [*(columns or []), *(one for one in (label, weight) if one is not None)]:
        if name not in names:
            held = ", ".join(f"'{one[:60]}'" for one in names[:8]) + (", …" if len(names) > 8 else "")  # noqa: PLR2004
            raise BadData(f"{where} has no column '{name}'; it has {held}.")
    found = columns or [name for name in names if name not in {label, weight}]
    if not found:
        raise BadData(f"{where} has no column of inputs beside the label.")
    return found
