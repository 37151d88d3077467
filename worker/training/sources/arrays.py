"""Sources of whole arrays: data sets by name, inline arrays, `.npz` and `.npy` files."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from shared.errors import BadData
from shared.sources.arrays import DatasetSource, InlineSource, NpySource, NpzSource
from worker.training import arrays, datasets, structure
from worker.training.sources import reader as readers
from worker.training.sources.place import Held, Place
from worker.training.sources.reader import Field, Rows

Source = DatasetSource | InlineSource | NpzSource | NpySource


def held(source: Source, where: Place, *, labels: bool) -> Held:
    """Return what a source holds, reading no more than headers. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        known = datasets.KNOWN[source.dataset]
        sample = known.sample if source.maxlen is None else (source.maxlen,)
        y = Field((), np.dtype(np.int64))
        return Held(known.rows[source.split], Field(sample, known.dtype), y, peak=known.peak_mb << 20)
    if isinstance(source, InlineSource):
        rows = read(source, where, labels=labels)
        return Held(readers.same_length(rows), *map(_fields, (rows.x, rows.y, rows.weight)))
    parts = parts_of(source, labels=labels)
    found = _headers(source, [name for part in parts if part is not None for name in flat(part)], where)
    headers = Rows(*together(parts, found))
    count = structure.flat(headers.x)[0].shape[0]
    return Held(count, *map(_fields, (headers.x, headers.y, headers.weight)))


def _fields(part: Any) -> Any:
    """Return what one row has of each array, from the arrays or their headers."""
    return structure.mapped(lambda one: Field(one.shape[1:], one.dtype), part)


def _headers(source: NpzSource | NpySource, names: list[str], where: Place) -> list[arrays.Header]:
    if isinstance(source, NpzSource):
        return arrays.npz_headers(where.open(source.npz).stream(), source.npz, names)
    return [arrays.npy_header(where.open(path).stream(), path) for path in names]


def parts_of(source: NpzSource | NpySource, *, labels: bool) -> list[Any]:
    """Return how a source names its inputs and, where `labels` are wanted, its labels and weights."""
    if isinstance(source, NpzSource):
        return [source.x, *((source.y, source.sample_weight) if labels else ())]
    return [source.npy, *((source.labels, source.sample_weight) if labels else ())]


def together(parts: list[Any], found: Iterable[Any]) -> list[Any]:
    """Return what was found for each name of some parts, in the form in which each part names them."""
    each = iter(found)
    return [None if part is None else _like(part, [next(each) for _ in flat(part)]) for part in parts]


def flat(names: Any) -> list[Any]:
    """Return the names of a part, in order."""
    return list(names.values()) if isinstance(names, dict) else names if isinstance(names, list) else [names]


def _like(names: Any, found: list[Any]) -> Any:
    """Return what was found in the form in which it was named; a list as a tuple, as Keras's data has it."""
    if isinstance(names, dict):
        return dict(zip(names, found, strict=True))
    return tuple(found) if isinstance(names, list) else found[0]


def read(source: Source, where: Place, *, labels: bool) -> Rows:
    """Return a source's arrays whole, as they are; `y` and weights only when `labels` are wanted. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        rows = Rows(*datasets.load(source, where.datasets, where.timeout_s))
        for name, path in datasets.files(source.dataset, where.datasets).items():
            where.note(name, path)
        return rows
    if isinstance(source, InlineSource):
        return Rows(*(None if one is None else _inline(one, name) for name, one in _inline_parts(source).items()))
    parts = parts_of(source, labels=labels)
    names = [name for part in parts if part is not None for name in flat(part)]
    found = _npz(source.npz, names, where) if isinstance(source, NpzSource) else _npy(names, where)
    return Rows(*together(parts, found))


def _npz(path: str, names: list[str], where: Place) -> Iterator[np.ndarray]:
    file = where.open(path)
    found = arrays.read_npz(file.stream(), path, names, where.budget)
    file.check()
    return iter(found)


def _npy(paths: list[str], where: Place) -> Iterator[np.ndarray]:
    budget = where.budget
    for path in paths:
        file = where.open(path)
        array = arrays.read_npy(file.stream(), path, budget)
        file.check()
        budget -= array.nbytes
        yield array


def _inline_parts(source: InlineSource) -> dict[str, Any]:
    return {"x": source.x, "y": source.y, "sample_weight": source.sample_weight}


def _inline(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _inline(one, f"{name} '{key}'") for key, one in value.items()}
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{name} is no array: {error}.") from error
