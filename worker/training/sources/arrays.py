"""Sources of whole arrays: data sets by name, inline arrays, `.npz` and `.npy` files."""

from typing import Any

import numpy as np

from shared import store
from shared.errors import BadData
from shared.sources.arrays import DatasetSource, InlineSource, NpySource, NpzSource
from worker.training import arrays, datasets
from worker.training.sources.place import Arrays, Held, Place

Source = DatasetSource | InlineSource | NpzSource | NpySource


def held(source: Source, where: Place) -> Held:
    """Return what a source holds, reading no more than headers. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        if source.dataset not in datasets.SHAPES:
            datasets.load(source.dataset, source.split, where.datasets, where.timeout_s)  # says why it cannot be
        sample, train, test = datasets.SHAPES[source.dataset]
        return Held(train if source.split == "train" else test, sample, 4)
    if isinstance(source, InlineSource):
        shape = np.shape(source.x)
        return Held(shape[0], shape[1:], 4)
    header = _header(source, where)
    return Held(header.shape[0], header.shape[1:], header.dtype.itemsize)


def _header(source: NpzSource | NpySource, where: Place) -> arrays.Header:
    path = source.npz if isinstance(source, NpzSource) else source.npy
    with store.open_data(where.volume, path) as file:
        if isinstance(source, NpzSource):
            return arrays.npz_headers(file, path, [source.x])[0]
        return arrays.npy_header(file, path)


def read(source: Source, where: Place, *, labels: bool) -> Arrays:
    """Return a source's arrays whole, as they are; `y` only when `labels` are wanted. Raise `BadData`."""
    if isinstance(source, DatasetSource):
        return datasets.load(source.dataset, source.split, where.datasets, where.timeout_s)
    if isinstance(source, InlineSource):
        return _inline(source.x, "x"), None if source.y is None else _inline(source.y, "y")
    if isinstance(source, NpzSource):
        names = [source.x, source.y] if labels and source.y is not None else [source.x]
        with store.open_data(where.volume, source.npz) as file:
            found = arrays.read_npz(file, source.npz, names, where.budget)
        return found[0], found[1] if len(found) > 1 else None
    return _read_npy(source, where, labels=labels)


def _read_npy(source: NpySource, where: Place, *, labels: bool) -> Arrays:
    with store.open_data(where.volume, source.npy) as file:
        x = arrays.read_npy(file, source.npy, where.budget)
    if not labels or source.labels is None:
        return x, None
    with store.open_data(where.volume, source.labels) as file:
        return x, arrays.read_npy(file, source.labels, where.budget - x.nbytes)


def _inline(value: list[Any], name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise BadData(f"{name} is no array: {error}.") from error
