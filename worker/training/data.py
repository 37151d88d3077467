"""From a spec's data sources to samples for a model: in memory where they fit, streamed where they do not."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.data_spec import Source, Split, TrainData
from shared.errors import BadData
from shared.sources.arrays import NpySource, NpzSource
from worker.training import samples as prepared
from worker.training.samples import Preparation, Samples, Streamed
from worker.training.sources import arrays, opening
from worker.training.sources import reader as readers
from worker.training.sources.place import Place
from worker.training.sources.reader import Cut, Reader, Rows
from worker.wire import Assignment

#: Sources whose files are read whole where they fit: an archive's checksums are of the whole.
_CHECKED = NpySource | NpzSource
#: The part of a job's memory that its data may take, as it is given to the model.
_RESIDENT = 4
#: The part of a job's memory that one window of streamed rows may take.
_WINDOW = 32
#: Windows that are in memory at once, about: in use, read ahead, and on the way from one to the other.
_WINDOWS_HELD = 4


@dataclass(frozen=True)
class Outline:
    """What is known of a source without loading it: rows, shape of one sample, bytes in memory."""

    rows: int
    sample: Any
    bytes: int


def place(assignment: Assignment) -> Place:
    """Return where an assignment's sources are."""
    memory_mb = assignment.spec.get("resources", {}).get("memory_mb", 2048)
    folder = Path(assignment.datasets) if assignment.datasets else None
    return Place(Path(assignment.volume), folder, assignment.dataset_timeout_s, memory_mb << 20)


def load(source: Source, where: Place, *, labels: bool, scale: float | None, one_hot: int | None) -> Samples | Streamed:
    """Return a source's rows: checked, cut to `rows`, scaled, encoded. Raise `BadData`."""
    return _loaded([_open(source, where, Preparation(scale, one_hot), labels=labels)], where)[0]


def load_training(
    data: TrainData, where: Place, *, scale: float | None, one_hot: int | None
) -> tuple[Samples | Streamed, Samples | Streamed | None]:
    """Return what a train job learns from and what it validates on."""
    how = Preparation(scale, one_hot)
    train = _open(data.train, where, how, labels=True)
    if data.validation is None:
        return _loaded([train], where)[0], None
    if isinstance(data.validation, Split):
        return split(_loaded([train], where)[0], data.validation.split)
    samples, validation = _loaded([train, _open(data.validation, where, how, labels=True)], where)
    return samples, validation


def split(samples: Samples | Streamed, fraction: float) -> tuple[Samples | Streamed, Samples | Streamed]:
    """Take the last rows for validation, as Keras's `validation_split`."""
    at = split_at(len(samples), fraction)
    return samples.cut(0, at), samples.cut(at, len(samples))


def split_at(rows: int, fraction: float) -> int:
    """Return how many of the first rows stay for training. Raise `BadData` when a part would be empty."""
    at = math.floor(rows * (1.0 - fraction))
    if at in {0, rows}:
        raise BadData(f"{rows} rows cannot be split with validation split {fraction}: one part would be empty.")
    return at


def outline(source: Source, where: Place) -> Outline:
    """Return what a source holds, reading no more than headers and indices. Raise `BadData`."""
    reader = opening.opened(source, where, labels=False)
    if reader is None:
        held = arrays.held(source, where)
        first, end = _rows(source, held.rows)
        return Outline(end - first, held.sample, (end - first) * math.prod(held.sample) * held.itemsize)
    first, end = _rows(source, readers.rows(reader))
    size = (end - first) * Preparation().row_bytes(reader)
    if size > where.budget // _RESIDENT:
        size = _WINDOWS_HELD * (where.budget // _WINDOW)
    return Outline(end - first, readers.sample(reader), size)


@dataclass
class _Opened:
    """A source whose size is known."""

    source: Source
    how: Preparation
    labels: bool
    #: None for what can only be loaded whole.
    reader: Reader | None
    bytes: int


def _open(source: Source, where: Place, how: Preparation, *, labels: bool) -> _Opened:
    reader = opening.opened(source, where, labels=labels)
    if reader is None:
        return _Opened(source, how, labels, None, 0)
    if labels and reader.y is None:
        raise BadData("The source has no labels, and this job needs them: give y.")
    first, end = _rows(source, readers.rows(reader))
    cut = Cut(reader, first, end)
    return _Opened(source, how, labels, cut, (end - first) * how.row_bytes(cut))


def _loaded(opened: list[_Opened], where: Place) -> list[Samples | Streamed]:
    """Return the samples of each source: the smallest first in memory, while there is room, and the others streamed.

    What is streamed depends on the spec and the data alone, for the order of the rows depends on it.
    """
    room = where.budget // _RESIDENT
    found: dict[int, Samples | Streamed] = {}
    for index, one in sorted(enumerate(opened), key=lambda pair: pair[1].bytes):
        if one.reader is None:
            found[index] = _whole(one, where)
        elif one.bytes <= room:
            room -= one.bytes
            found[index] = (
                _whole(one, where) if isinstance(one.source, _CHECKED) else prepared.whole(one.reader, one.how)
            )
        else:
            window = where.budget // _WINDOW // max(1, one.how.row_bytes(one.reader))
            found[index] = Streamed(one.reader, one.how, window)
    return [found[index] for index in range(len(opened))]


def _whole(one: _Opened, where: Place) -> Samples:
    """Return the samples of a source that is loaded as arrays."""
    x, y = arrays.read(one.source, where, labels=one.labels)
    if one.labels and y is None:
        raise BadData("The source has no labels, and this job needs them: give y.")
    if y is not None and len(x) != len(y):
        raise BadData(f"x has {len(x)} rows and y has {len(y)}; each sample needs one label.")
    first, end = _rows(one.source, len(x))
    return one.how.samples(Rows(x, y)[first:end])


def _rows(source: Source, count: int) -> tuple[int, int]:
    if source.rows is None:
        return 0, count
    first, end = source.rows
    if end > count:
        raise BadData(f"rows [{first}, {end}] reach beyond the source, which has {count} rows.")
    return first, end
