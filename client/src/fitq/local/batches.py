"""Data sets and generators, read into memory as the batches that were asked for, in order.

A repeated data set whose batches come again travels as one period of them, a finite one whose passes are equal as one
pass. How much memory this may take is capped; the cap is looked at after each batch, and nothing has been sent by then.
"""

import hashlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from fitq.errors import CannotTravel
from fitq.local import arrays
from fitq.local.arrays import Arrays

#: MiB of one data set in memory, unless FITQ_MAX_DATASET_MB or the argument says otherwise.
MOST_MB = 2048
#: `tf.data.INFINITE_CARDINALITY`.
_INFINITE = -1

#: Inputs, labels and weights of one batch.
_Batch = tuple[Arrays, Arrays | None, Arrays | None]


@dataclass(frozen=True)
class Batches:
    """Batches one behind the other: their rows, and how many rows each batch has."""

    x: Arrays
    y: Arrays | None
    sample_weight: Arrays | None
    #: [rows, count]: so many batches of so many rows, and so on.
    lengths: list[list[int]]
    #: Batches here; one that was asked for and is not here is one of these again.
    count: int
    #: Batches of an epoch, where a finite data set gave other ones in each and all epochs are here.
    per_epoch: int | None = None


@dataclass(frozen=True)
class Asked:
    """How many batches are wanted: `steps` a time, so many times; None is all there are."""

    argument: str
    steps: int | None
    steps_argument: str
    times: int = 1

    @property
    def total(self) -> int | None:
        """Batches in all."""
        return None if self.steps is None else self.steps * self.times


def is_stream(value: Any) -> bool:
    """Whether data comes in batches of its own: a `tf.data.Dataset`, a `PyDataset` or a Python iterator."""
    return _is_dataset(value) or isinstance(value, (keras.utils.PyDataset, Iterator)) or _is_loader(value)


def _is_dataset(value: Any) -> bool:
    # Whoever has one has imported TensorFlow.
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(value, tensorflow.data.Dataset)


def _is_loader(value: Any) -> bool:
    return type(value).__module__.startswith("torch.utils.data") and hasattr(value, "dataset")


def most_bytes(asked_mb: int | None) -> int:
    """Return the cap in bytes: the argument, FITQ_MAX_DATASET_MB or the default."""
    said = os.environ.get("FITQ_MAX_DATASET_MB")  # noqa: TID251 - a client has no settings.py
    try:
        return (asked_mb or int(said or MOST_MB)) << 20
    except ValueError:
        raise CannotTravel(f"FITQ_MAX_DATASET_MB must be a whole number of MiB, not '{said}'.") from None


def read(stream: Any, asked: Asked, most: int) -> Batches:
    """Read the batches that are asked for. Raise `CannotTravel` when they are too many bytes or too few batches."""
    found = _Reader(asked, most, _known(stream, asked))
    for batch in itertools.islice(_items(stream, asked), asked.total):
        found.take(batch)
    if asked.times > 1 and (_is_dataset(stream) or _is_loader(stream)):
        _read_on(stream, asked, found)
    return found.end()


def _read_on(stream: Any, asked: Asked, found: "_Reader") -> None:
    """Take the passes that Keras makes after the first, unless the second gives the same as that. Raise as `read`."""
    once = found.came
    wanted = once * asked.times if asked.total is None else asked.total
    if asked.steps is not None and once % asked.steps:
        return
    while found.came < wanted:
        begun = found.came
        for batch in itertools.islice(_next_pass(stream, asked), None if asked.total is None else wanted - begun):
            found.take(batch)
            if found.per_epoch is None and not found.is_as_before(once):
                found.changes(asked.steps or once, wanted)
        if found.came != min(begun + once, wanted):
            raise CannotTravel(
                f"{asked.argument} gives {once} batches in one pass and {found.came - begun} in another: "
                f"call .repeat() on it and give {asked.steps_argument}=…, or fit locally."
            )
        if found.per_epoch is None:
            found.cut(once)
            return


def _next_pass(stream: Any, asked: Asked) -> Iterator[Any]:
    if asked.total is None and _known(stream, asked) is not None:
        # At the end of an epoch of known length Keras begins a pass, too, which it leaves. A shuffling counts it.
        iter(stream)
    return _items(stream, asked)


def _known(stream: Any, asked: Asked) -> int | None:
    """Return the number of batches that will come, if one knows; refuse what has no end."""
    if asked.total is None and not _ends(stream):
        raise CannotTravel(
            f"{asked.argument} has no end that fitq could wait for: give {asked.steps_argument}=…, "
            "and the batches asked for travel."
        )
    if not _is_dataset(stream):
        return None
    count = int(stream.cardinality())
    return None if count < 0 else count if asked.total is None else min(count, asked.total)


def _ends(stream: Any) -> bool:
    if _is_dataset(stream):
        return int(stream.cardinality()) != _INFINITE
    if isinstance(stream, keras.utils.PyDataset):
        return stream.num_batches is not None
    return _is_loader(stream)


def epoch_of_changing(stream: Any) -> int | None:
    """Return the batches of a `PyDataset` that changes between epochs, as by shuffling; None for anything else."""
    own = keras.utils.PyDataset
    if not isinstance(stream, own):
        return None
    kind = type(stream)
    keeps = kind.on_epoch_begin is own.on_epoch_begin and kind.on_epoch_end is own.on_epoch_end
    return None if keeps else stream.num_batches


def _passes(stream: keras.utils.PyDataset, asked: Asked) -> Iterator[Any]:
    """Yield a `PyDataset`'s batches; where an epoch is a pass, of all epochs, and told of their ends as by Keras."""
    if stream.num_batches is None:
        yield from (stream[index] for index in itertools.count())
        return
    # Keras ends an epoch before the first one, too.
    stream.on_epoch_end()
    for _ in range(asked.times if asked.steps == stream.num_batches else 1):
        stream.on_epoch_begin()
        yield from (stream[index] for index in range(stream.num_batches))
        stream.on_epoch_end()


def _items(stream: Any, asked: Asked) -> Iterator[Any]:
    if isinstance(stream, keras.utils.PyDataset):
        yield from _passes(stream, asked)
    elif _is_dataset(stream) and asked.total is not None:
        # TensorFlow fetches ahead: what nobody asked for should not be made.
        yield from stream.take(asked.total)
    else:
        yield from stream


class _Reader:
    """Takes batches, keeping each different one once."""

    def __init__(self, asked: Asked, most: int, known: int | None) -> None:
        self._asked, self._most, self._known = asked, most, known
        self._order: list[bytes] = []
        self._kept: dict[bytes, _Batch] = {}
        self._bytes = 0
        #: Batches of an epoch, once it is known that each epoch gives other ones.
        self.per_epoch: int | None = None

    @property
    def came(self) -> int:
        """Batches so far."""
        return len(self._order)

    def is_as_before(self, once: int) -> bool:
        """Whether the newest batch equals the one so many batches before it."""
        return self._order[-1] == self._order[-1 - once]

    def changes(self, per_epoch: int, total: int) -> None:
        """Know that all epochs will come, with so many batches in all. Raise `CannotTravel` when the cap forbids it."""
        first = self._bytes_of(self._order[:per_epoch])
        self.per_epoch, self._known = per_epoch, total
        if first * (total // per_epoch) > self._most:
            self._refuse(self._most)

    def cut(self, count: int) -> None:
        """Forget all but the first batches."""
        del self._order[count:]

    def _bytes_of(self, order: list[bytes]) -> int:
        return sum(arrays.size(*self._kept[key]) for key in order)

    def take(self, item: Any) -> None:
        """Take one batch. Raise `CannotTravel` when the cap is exceeded, or certainly will be."""
        batch = _unpacked(item, self._asked.argument)
        key = _key(batch)
        self._order.append(key)
        if key not in self._kept:
            self._kept[key] = batch
            self._bytes += arrays.size(*batch)
        # A data set that is read to its end, once, has no period that would make it smaller.
        certain = self._bytes * (self._known or 0) if len(self._order) == 1 and self._asked.total is None else 0
        if max(self._bytes, certain) > self._most:
            self._refuse(max(self._bytes, certain))

    def _refuse(self, least: int) -> None:
        total = self._known or self._asked.total
        first = arrays.size(*self._kept[self._order[0]])
        whole = "" if total is None else f" ({total} batches, about {_shown(total * first)})"
        why = "" if self.per_epoch is None else " It gives other batches in each epoch, and so all epochs would travel."
        raise CannotTravel(
            f"{self._asked.argument} would travel as more than {_shown(min(least, self._most))}{whole}; the limit is "
            f"{_shown(self._most)}.{why} Nothing was sent. Raise max_dataset_mb=… or FITQ_MAX_DATASET_MB, ask for "
            "fewer steps, or put the data on the volume as TFRecord or .npy and submit a spec."
        )

    def end(self) -> Batches:
        """Return what was taken, as one period of it."""
        if not self._order:
            raise CannotTravel(f"{self._asked.argument} is empty: it gave no batch.")
        order = self._order[: self._period()]
        batches = [self._kept[key] for key in order]
        lengths = [
            [rows, len(list(group))]
            for rows, group in itertools.groupby(len(arrays.leaves(batch[0])[0]) for batch in batches)
        ]
        if self._bytes_of(order) > self._most:
            self._refuse(self._most)
        x, y, weights = (self._joined([batch[part] for batch in batches]) for part in range(3))
        assert x is not None  # noqa: S101 - every batch has inputs
        return Batches(x, y, weights, lengths, len(order), self.per_epoch)

    def _joined(self, parts: list[Arrays | None]) -> Arrays | None:
        present = [part for part in parts if part is not None]
        if not present:
            return None
        try:
            if len(present) == len(parts):
                return arrays.joined(present)
        except (ValueError, KeyError, IndexError):
            pass
        raise CannotTravel(
            f"{self._asked.argument} has batches whose samples differ in shape or parts: give all the same shape "
            "(padded_batch with padded_shapes), or fit locally."
        )

    def _period(self) -> int:
        """Return after how many batches they come again; refuse when the data ran out within an epoch."""
        came, asked = self.came, self._asked
        if self.per_epoch is not None:
            return _shortest_period(self._order)
        if asked.total is None:
            return came
        if came < asked.total:
            if asked.times > 1 and came % (asked.steps or 1):
                raise CannotTravel(
                    f"{asked.argument} has {came} batches; {asked.steps_argument}={asked.steps} over {asked.times} "
                    f"epochs takes {asked.total}: call .repeat() on it, or ask for fewer."
                )
            return came
        return _shortest_period(self._order)


def _shortest_period(items: list[bytes]) -> int:
    """Return the smallest p with items[i] == items[i + p] wherever both are there (Knuth, Morris and Pratt)."""
    border = [0] * len(items)
    length = 0
    for index in range(1, len(items)):
        while length and items[index] != items[length]:
            length = border[length - 1]
        length += items[index] == items[length]
        border[index] = length
    return len(items) - border[-1]


def _unpacked(item: Any, argument: str) -> _Batch:
    """Return (x, y, sample_weight) as Keras reads an element: a tuple of one to three, or x alone."""
    parts = tuple(item) if isinstance(item, (list, tuple)) else (item,)
    if not 1 <= len(parts) <= 3:  # noqa: PLR2004 - x, y, sample_weight
        raise CannotTravel(f"{argument} gives {len(parts)} parts; (x, y, sample_weight) are three at most.")
    x, y, weights = (*parts, None, None)[:3]
    named = f"A batch of {argument}"
    batch: _Batch = (
        arrays.taken(x, named),
        None if y is None else arrays.taken(y, named),
        None if weights is None else arrays.taken(weights, named),
    )
    rows = {len(one) for part in batch for one in arrays.leaves(part)}
    if len(rows) != 1:
        raise CannotTravel(f"{named} has parts of {min(rows)} and of {max(rows)} rows: call .batch(…) on the data set.")
    return batch


def _key(batch: _Batch) -> bytes:
    sha = hashlib.sha256()
    for part in batch:
        for one in arrays.leaves(part):
            sha.update(f"{one.dtype.str}{one.shape}".encode())
            sha.update(np.ascontiguousarray(one).data)
        sha.update(b"|")
    return sha.digest()


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count / 2**20, 0.1):.1f} MiB"
