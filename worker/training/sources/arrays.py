"""Sources of whole arrays: data sets by name, inline arrays, `.npz` and `.npy` files."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from shared.errors import BadData
from shared.sources.arrays import DatasetSource, InlineSource, NpySource, NpzSource
from worker.training import arrays, datasets
from worker.training.sources.place import Held, Place
from worker.training.sources.reader import Rows

Source = DatasetSource | InlineSource | NpzSource | NpySource


def held(source: Source, where: Place) -> Held:
    """Return what a source holds, reading no more than headers. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        if source.dataset not in datasets.SHAPES:
            datasets.load(source.dataset, source.split, where.datasets, where.timeout_s)  # says why it cannot be
        sample, train, test = datasets.SHAPES[source.dataset]
        return Held(train if source.split == "train" else test, sample, 4)
    if isinstance(source, InlineSource):
        many = isinstance(source.x, dict)
        shapes = {name: np.shape(one) for name, one in _named(source.x).items()}
        samples = {name: shape[1:] for name, shape in shapes.items()}
        return Held(next(iter(shapes.values()))[0], samples if many else samples["x"], 4)
    headers = _header(source, where)
    sample = _like(source.x if isinstance(source, NpzSource) else source.npy, [header.shape[1:] for header in headers])
    several = isinstance(source.x if isinstance(source, NpzSource) else source.npy, list)
    itemsize = max(header.dtype.itemsize for header in headers)
    return Held(headers[0].shape[0], list(sample) if several else sample, itemsize)


def _header(source: NpzSource | NpySource, where: Place) -> list[arrays.Header]:
    if isinstance(source, NpzSource):
        return arrays.npz_headers(where.open(source.npz).stream(), source.npz, _flat(source.x))
    return [arrays.npy_header(where.open(path).stream(), path) for path in _flat(source.npy)]


def _named(x: Any) -> dict[str, Any]:
    return x if isinstance(x, dict) else {"x": x}


def _flat(names: Any) -> list[Any]:
    return list(names.values()) if isinstance(names, dict) else names if isinstance(names, list) else [names]


def _like(names: Any, found: list[Any]) -> Any:
    """Return what was found in the form in which it was named; a list as a tuple, as Keras's data has it."""
    if isinstance(names, dict):
        return dict(zip(names, found, strict=True))
    return tuple(found) if isinstance(names, list) else found[0]


def read(source: Source, where: Place, *, labels: bool) -> Rows:
    """Return a source's arrays whole, as they are; `y` and weights only when `labels` are wanted. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        rows = Rows(*datasets.load(source.dataset, source.split, where.datasets, where.timeout_s))
        for name, path in datasets.files(source.dataset, where.datasets).items():
            where.note(name, path)
        return rows
    if isinstance(source, InlineSource):
        return Rows(*(None if one is None else _inline(one, name) for name, one in _inline_parts(source).items()))
    if isinstance(source, NpzSource):
        parts = [source.x, *((source.y, source.sample_weight) if labels else ())]
        wanted = [name for part in parts if part is not None for name in _flat(part)]
        found = _npz(source.npz, wanted, where)
    else:
        parts = [source.npy, *((source.labels, source.sample_weight) if labels else ())]
        found = _npy([path for part in parts if part is not None for path in _flat(part)], where)
    return Rows(*(None if part is None else _like(part, [next(found) for _ in _flat(part)]) for part in parts))


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
