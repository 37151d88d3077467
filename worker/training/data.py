"""From a spec's data sources to samples for a model: in memory where they fit, streamed where they do not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from shared.data_spec import Source, Split, TrainData
from shared.errors import BadData
from shared.sources.arrays import DatasetSource, NpySource, NpzSource
from worker.training import samples as prepared
from worker.training import structure
from worker.training.samples import Preparation, Samples, Streamed
from worker.training.sources import arrays, opening
from worker.training.sources import reader as readers
from worker.training.sources.place import Held, Place
from worker.training.sources.reader import Cut, Reader
from worker.wire import Assignment

#: Sources whose files are read whole where they fit: an archive's checksums are of the whole.
_CHECKED = NpySource | NpzSource
_NO_LABELS = "The source has no labels, and this job needs them: give y."
#: The part of a job's memory that its data may take, as it is given to the model.
_RESIDENT = 4
#: The part of a job's memory that one window of streamed rows may take.
_WINDOW = 32
#: The part of a job's memory that data may take which cannot be streamed.
_WHOLE = 2
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


def load(
    source: Source,
    where: Place,
    *,
    labels: bool,
    scale: float | None,
    one_hot: int | None,
    class_names: tuple[str, ...] | None = None,
) -> Samples | Streamed:
    """Return a source's rows: checked, cut to `rows`, scaled, encoded. Raise `BadData`.

    `class_names` are the classes of labels that are words, unless the source names its own.
    """
    how = Preparation(scale, one_hot)
    return _loaded([_open(source, where, how, labels=labels, class_names=class_names)], where)[0]


def load_training(
    data: TrainData,
    where: Place,
    *,
    scale: float | None,
    one_hot: int | None,
    class_weight: Mapping[int, float] | None = None,
    labels_needed: bool = True,
    seed: int | None = None,
) -> tuple[Samples | Streamed, Samples | Streamed | None]:
    """Return what a train job learns from and what it validates on, where classes have no weights.

    Images are first shuffled by `seed`.
    """
    how = Preparation(scale, one_hot)
    weighted = replace(how, class_weight=class_weight)
    train = _open(data.train, where, weighted, labels=True, needed=labels_needed, seed=seed)
    if data.validation is None:
        return _loaded([train], where)[0], None
    if isinstance(data.validation, Split):
        learned, validation = split(_loaded([train], where)[0], data.validation.split)
        return learned, validation if class_weight is None else validation.unweighted()
    names = None if train.reader is None else train.reader.class_names
    held = _open(data.validation, where, how, labels=True, needed=labels_needed, class_names=names, seed=seed)
    samples, validation = _loaded([train, held], where)
    return samples, validation


def split(samples: Samples | Streamed, fraction: float) -> tuple[Samples | Streamed, Samples | Streamed]:
    """Take the last rows for validation, as Keras's `validation_split`."""
    if samples.batches is not None:
        raise BadData("A source with batches cannot be split: name a validation source, or leave batches out.")
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
        held = arrays.held(cast("arrays.Source", source), where, labels=False)
        first, end = _rows(source, held.rows)
        return Outline(end - first, readers.sample(held.x), _bytes_whole(source, held, Preparation(), where))
    first, end = _rows(source, readers.rows(reader))
    size = (end - first) * Preparation().row_bytes(reader)
    if size > where.budget // _RESIDENT:
        size = _WINDOWS_HELD * (where.budget // _WINDOW)
    return Outline(end - first, readers.sample(reader.x), size)


@dataclass
class _Opened:
    """A source whose size is known."""

    source: Source
    how: Preparation
    labels: bool
    #: Whether there must be labels.
    needed: bool
    #: None for what can only be loaded whole.
    reader: Reader | None
    bytes: int


def _open(
    source: Source,
    where: Place,
    how: Preparation,
    *,
    labels: bool,
    needed: bool | None = None,
    class_names: tuple[str, ...] | None = None,
    seed: int | None = None,
) -> _Opened:
    needed = labels if needed is None else needed
    reader = opening.opened(source, where, labels=labels, class_names=class_names, seed=seed)
    if reader is None:
        held = arrays.held(cast("arrays.Source", source), where, labels=labels)
        return _Opened(source, how, labels, needed, None, _bytes_whole(source, held, how, where))
    if needed and reader.y is None:
        raise BadData(_NO_LABELS)
    first, end = _rows(source, readers.rows(reader))
    cut = Cut(reader, first, end)
    return _Opened(source, how, labels, needed, cut, (end - first) * how.row_bytes(cut))


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
            window = _window(where.budget, one.how.row_bytes(one.reader))
            found[index] = Streamed(one.reader, one.how, window, _batches(one.source, readers.rows(one.reader)))
    return [found[index] for index in range(len(opened))]


def _bytes_whole(source: Source, held: Held, how: Preparation, where: Place) -> int:
    """Return the bytes of a source that cannot be streamed. Raise `BadData` when the job has no room for it."""
    size = max(held.rows * how.row_bytes(held), held.peak // _WHOLE)
    if size > (room := where.budget // _WHOLE):
        raise BadData(
            f"{_why_whole(source)} It takes {_mb(size)} MB, and resources.memory_mb {where.budget >> 20} has room for "
            f"{room >> 20} MB of such data: set it to {_mb(size) * _WHOLE} at least."
        )
    return size


def _why_whole(source: Source) -> str:
    if isinstance(source, DatasetSource):
        return f"The data set {source.dataset} is kept in memory whole."
    label = source.npz if isinstance(source, NpzSource) else structure.flat(getattr(source, "npy", "x"))[0]
    how = "save it with numpy.savez" if isinstance(source, NpzSource) else "save it with numpy.save"
    return f"{label} is compressed or in Fortran order, so it cannot be streamed ({how}, in C order, so that it can)."


def _mb(size: int) -> int:
    return math.ceil(size / (1 << 20))


def _window(budget: int, row_bytes: int) -> int:
    """Return the rows of a window, about."""
    return budget // _WINDOW // max(1, row_bytes)


def _whole(one: _Opened, where: Place) -> Samples:
    """Return the samples of a source that is loaded as arrays."""
    rows = arrays.read(cast("arrays.Source", one.source), where, labels=one.labels)
    if one.needed and rows.y is None:
        raise BadData(_NO_LABELS)
    count = readers.same_length(rows)
    first, end = _rows(one.source, count)
    return replace(one.how.samples(rows[first:end]), batches=_batches(one.source, end - first))


def _batches(source: Source, rows: int) -> tuple[tuple[int, int], ...] | None:
    """Return the sizes of a pass's batches, where the source says them. Raise `BadData` when they do not add up."""
    runs = getattr(source, "batches", None)
    if runs is None:
        return None
    if (total := sum(size * count for size, count in runs)) != rows:
        raise BadData(f"batches are of {total} rows together; the source has {rows}.")
    return tuple((size, count) for size, count in runs)


def _rows(source: Source, count: int) -> tuple[int, int]:
    if source.rows is None:
        return 0, count
    first, end = source.rows
    if end > count:
        raise BadData(f"rows [{first}, {end}] reach beyond the source, which has {count} rows.")
    return first, end
