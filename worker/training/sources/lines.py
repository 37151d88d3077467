"""Where the rows of a CSV file lie: found without understanding them, so that any can be read without those before."""

import codecs
from dataclasses import dataclass

import numpy as np

from shared.errors import BadData
from worker.training.sources.datafile import DataFile
from worker.training.sources.reader import BLOCK_BYTES

#: Bytes of one row, at most.
_LINE_MOST = 1 << 24
_LF, _CR, _QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Lines:
    """The blocks of a file: each begins and ends with whole rows."""

    #: Bytes of the header.
    header: bytes
    #: At which byte each block begins, and the end of the last.
    offsets: np.ndarray
    #: The number of each block's first row, and the number of rows.
    starts: np.ndarray
    #: The number of each block's first line, from 1.
    lines: np.ndarray


@dataclass(frozen=True)
class _Block:
    end: int
    rows: int
    lines: int


def scan(file: DataFile) -> Lines:
    """Find the rows of a file. Raise `BadData` naming the line of what is no CSV."""
    at = _begin(file)
    first = _next(file, at, 1, header=True)
    if first is None:
        raise BadData(f"{file.label} is empty; its first line must name the columns.")
    header = file.at(at, first.end - at)
    at, line, row = first.end, 1 + first.lines, 0
    offsets, starts, lines = [at], [0], []
    while (block := _next(file, at, line)) is not None:
        at, row = block.end, row + block.rows
        lines.append(line)
        line += block.lines
        offsets.append(at)
        starts.append(row)
    if row == 0:
        raise BadData(f"{file.label} has a header and no rows.")
    return Lines(header, np.array(offsets), np.array(starts), np.array(lines))


def _begin(file: DataFile) -> int:
    mark = file.at(0, 3)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadData(f"{file.label} is in UTF-16; save it as UTF-8.")
    return 3 if mark == codecs.BOM_UTF8 else 0


def _next(file: DataFile, at: int, line: int, *, header: bool = False) -> _Block | None:
    """Return the block that begins at a byte; of the header, its one row. None at the end of the file."""
    size = BLOCK_BYTES
    while at < file.size:
        block = _block(file, np.frombuffer(file.at(at, size), np.uint8), at, line, header=header)
        if block is not None:
            return block
        if size >= _LINE_MOST:
            raise BadData(f"{file.label}, line {line}: the row is longer than {_LINE_MOST >> 20} MB.")
        size *= 2
    return None


def _block(file: DataFile, data: np.ndarray, at: int, line: int, *, header: bool) -> _Block | None:
    """Return the whole rows in some bytes; None when not even one ends in them."""
    quoted = np.cumsum(data == _QUOTE) % 2 == 1
    whole = at + len(data) >= file.size
    ends = np.flatnonzero((data == _LF) & ~quoted) + 1
    if whole and (not len(ends) or ends[-1] < len(data)):
        if quoted[-1]:
            raise BadData(f"{file.label}, line {_last_line(data, ends, line)}: a quote is opened and never closed.")
        ends = np.append(ends, len(data))
    if not len(ends):
        return None
    ends = ends[:1] if header else ends
    data, quoted = data[: ends[-1]], quoted[: ends[-1]]
    alone = np.flatnonzero((data == _CR) & ~quoted & (np.append(data[1:], _LF) != _LF))
    if len(alone):
        at_line = line + int(np.count_nonzero(data[: alone[0]] == _LF))
        raise BadData(f"{file.label}, line {at_line}: a carriage return stands alone; lines end with LF or CR LF.")
    begins = np.concatenate([[0], ends[:-1]])
    blank = (data[begins] == _LF) | ((data[begins] == _CR) & (ends - begins <= 2))  # noqa: PLR2004 - CR LF
    return _Block(at + int(ends[-1]), int(len(ends) - blank.sum()), int(np.count_nonzero(data == _LF)))


def _last_line(data: np.ndarray, ends: np.ndarray, line: int) -> int:
    return line + int(np.count_nonzero(data[: ends[-1] if len(ends) else 0] == _LF))
