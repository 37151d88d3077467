"""Data on its way: arrays as uploads, and the spec's sources that name them."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from fitq.errors import CannotTravel
from fitq.local import arrays, batches
from fitq.local.arrays import Arrays
from fitq.local.batches import Asked

#: Bytes of a file that are kept in memory on their way; larger ones lie in the temporary folder.
_IN_MEMORY = 64 << 20

#: Takes an open file and the name of what is in it; returns the upload's reference.
Upload = Callable[[BinaryIO, str], str]


@dataclass(frozen=True)
class Data:
    """Inputs, labels and weights of samples, read and not yet sent."""

    x: Arrays
    y: Arrays | None = None
    sample_weight: Arrays | None = None
    #: Rows of each batch, where the data came in batches: [[rows, count], …].
    lengths: list[list[int]] | None = None
    #: Batches, where the data came in batches.
    count: int | None = None
    #: Batches of an epoch, where a data set gave other ones in each and all epochs are here.
    per_epoch: int | None = None

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return arrays.size(self.x, self.y, self.sample_weight)

    @property
    def rows(self) -> int:
        """Samples."""
        return len(arrays.leaves(self.x)[0])


def read(x: Any, y: Any, sample_weight: Any, asked: Asked, most: int) -> Data:
    """Return what a call was given as arrays. Raise `CannotTravel` for what cannot be such."""
    if not batches.is_stream(x):
        return _of_arrays(x, y, sample_weight, asked.argument)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise CannotTravel(f"{asked.argument} brings its own batches: give no {name} beside it.")
    found = batches.read(x, asked, most)
    return Data(found.x, found.y, found.sample_weight, found.lengths, found.count, found.per_epoch)


def _of_arrays(x: Any, y: Any, sample_weight: Any, argument: str) -> Data:
    if x is None:
        raise CannotTravel(f"{argument} is missing: give an array, several, or a tf.data.Dataset.")
    data = Data(
        arrays.taken(x, argument),
        None if y is None else arrays.taken(y, "y"),
        None if sample_weight is None else arrays.taken(sample_weight, "sample_weight"),
    )
    rows = {len(one) for part in (data.x, data.y, data.sample_weight) for one in arrays.leaves(part)}
    if len(rows) != 1:
        raise CannotTravel(f"{argument} and what goes with it have {min(rows)} and {max(rows)} rows.")
    if 0 in rows:
        raise CannotTravel(f"{argument} has no rows.")
    return data


def sent(data: Data, upload: Upload) -> dict[str, Any]:
    """Upload the arrays and return the spec's source."""
    source: dict[str, Any] = {"npy": arrays.mapped(lambda one: _file(one, upload), data.x)}
    if data.y is not None:
        source["labels"] = arrays.mapped(lambda one: _file(one, upload), data.y)
    if data.sample_weight is not None:
        source["sample_weight"] = arrays.mapped(lambda one: _file(one, upload), data.sample_weight)
    if data.lengths is not None:
        source["batches"] = data.lengths
    return source


def _file(array: np.ndarray, upload: Upload) -> str:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        file.seek(0)
        return upload(file, "array.npy")  # type: ignore[arg-type]
