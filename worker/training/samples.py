"""What a model learns from, or is asked about: rows that are prepared, in memory or still to be read."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shared.errors import BadData
from worker.training import structure, values
from worker.training.sources import reader as readers
from worker.training.sources.place import Held
from worker.training.sources.reader import Cut, Field, Reader, Rows

#: For each output, what messages call it ("" where there is one), and how many classes its labels may have, if any.
Classes = Sequence[tuple[str, int | None]]
#: Bytes that are read and prepared at a time.
_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class Samples:
    """Rows of inputs in memory; their labels and weights if they have any.

    Each is one array, a tuple of several, or a dictionary of them by the names of the model's inputs or outputs.
    """

    x: Any
    y: Any
    weight: Any = None
    class_names: tuple[str, ...] | None = None
    #: The sizes of one pass's batches as (rows, count), where the source says them.
    batches: tuple[tuple[int, int], ...] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(structure.flat(self.x)[0])

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(array.nbytes for array in self.arrays())

    @property
    def sample(self) -> Any:
        """The shape of one sample; a list or a dictionary of them where there are several inputs."""
        shapes = structure.mapped(lambda array: array.shape[1:], self.x)
        return list(shapes) if isinstance(self.x, tuple) else shapes

    def parts(self) -> tuple[Any, ...]:
        """Return the arrays as Keras's steps take them: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        return tuple(part for part in (self.x, self.y, self.weight) if part is not None)

    def head(self, rows: int) -> "Samples":
        """Return the first rows."""
        return self.cut(0, min(rows, len(self)))

    def cut(self, first: int, end: int) -> "Samples":
        """Return the rows from `first` up to `end`."""
        return self.map(lambda array: array[first:end])

    def unweighted(self) -> "Samples":
        """Return the same without the weights of classes, which count in training only."""
        return replace(self, weight=None)

    @property
    def labels(self) -> Any:
        """The labels as they are named: one, a tuple of several, or a dictionary."""
        return self.y

    def arranged(self, outputs: tuple[str, ...]) -> "Samples":
        """Return labels and weights that go by the names of outputs in the order of these."""
        y, weight = (self.y[name] for name in outputs), self.weight
        if isinstance(weight, dict):
            weight = tuple(weight.get(name, np.ones(len(self), np.float32)) for name in outputs)
        alone = len(outputs) == 1
        return replace(
            self,
            y=next(y) if alone else tuple(y),
            weight=weight[0] if alone and isinstance(weight, tuple) else weight,
        )

    def check_labels(self, classes: Classes, *, first: int = 0) -> None:
        """Raise `BadData` naming labels that are no class of their output; `first` is the number of the first row."""
        for (output, count), y in zip(classes, structure.flat(self.y), strict=False):
            if count is not None:
                values.check_labels(y, count, first=first, output=output)

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Samples":
        """Return samples of changed arrays."""
        x, y, weight = (structure.mapped(change, part) for part in (self.x, self.y, self.weight))
        return replace(self, x=x, y=y, weight=weight)

    def arrays(self) -> list[np.ndarray]:
        """Return all arrays."""
        return [array for part in (self.x, self.y, self.weight) for array in structure.flat(part)]


@dataclass(frozen=True)
class Preparation:
    """What is done to every row before a model sees it."""

    scale: float | None = None
    one_hot: int | None = None
    #: The weight of each class, in training.
    class_weight: Mapping[int, float] | None = None

    def samples(self, rows: Rows, *, first: int = 0) -> Samples:
        """Return rows checked, scaled, encoded; `first` is the number of the first row. Raise `BadData`."""
        x = self._each("x", rows.x, lambda array, name: values.scaled(values.numbers(array, name), self.scale))
        y = self._each("y", rows.y, lambda array, name: self._y(array, name, first))
        weight = self._each("sample_weight", rows.weight, lambda array, name: self._weight(array, name, first))
        if self.class_weight is not None:
            if weight is not None:
                raise BadData("class_weight and sample_weight cannot be given at once: multiply them into one.")
            if not isinstance(y, np.ndarray):
                raise BadData("class_weight needs one y: it is for models of one output.")
            weight = values.class_weights(y, self.class_weight)
        return Samples(x, y, _for_each_output(weight, y))

    @staticmethod
    def _each(what: str, arrays: Any, change: Callable[[np.ndarray, str], np.ndarray]) -> Any:
        changed = {name: change(array, name) for name, array in structure.named(what, arrays).items()}
        if isinstance(arrays, dict):
            return dict(zip(arrays, changed.values(), strict=True))
        return tuple(changed.values()) if isinstance(arrays, tuple) else changed.get(what)

    def _y(self, array: np.ndarray, name: str, first: int) -> np.ndarray:
        y = values.numbers(array, name)
        values.check_finite(y, first=first)
        return y if self.one_hot is None else values.one_hot(y, self.one_hot, first=first)

    @staticmethod
    def _weight(array: np.ndarray, name: str, first: int) -> np.ndarray:
        weight = values.numbers(array, name).astype(np.float32, copy=False)
        values.check_finite(weight, "sample_weight", first=first)
        return weight

    def row_bytes(self, source: Reader | Held) -> int:
        """Return the size of one prepared row in memory."""
        size = sum(_prepared_bytes(one, scaled=self.scale is not None) for one in structure.flat(source.x))
        labels = structure.flat(source.y)
        one_hot = None if self.one_hot is None else 4 * self.one_hot
        size += sum(one_hot or _prepared_bytes(one, scaled=False) for one in labels)
        weights = [4 * math.prod(one.shape) for one in structure.flat(source.weight)]
        if len(weights) == 1 or self.class_weight is not None:
            # One for every output.
            weights = [max(weights, default=4)] * max(1, len(labels))
        return int(size + sum(weights))


def _for_each_output(weight: Any, y: Any) -> Any:
    """Return one weight of each row for every output, as Keras does."""
    if y is None or isinstance(y, np.ndarray) or not isinstance(weight, np.ndarray):
        return None if y is None else weight
    if weight.ndim > 1 and weight.shape[1:] != (1,):
        raise BadData("One sample_weight for several outputs has one number for each row; give one for each output.")
    return structure.mapped(lambda _: weight, y)


def _prepared_bytes(one: Field, *, scaled: bool) -> int:
    return math.prod(one.shape) * (4 if scaled or one.dtype.kind == "f" else one.dtype.itemsize)


@dataclass
class Streamed:
    """Rows that do not fit in memory: read, prepared and given window by window."""

    reader: Reader
    how: Preparation
    #: Rows of a window, about.
    window: int
    #: The sizes of one pass's batches as (rows, count), where the source says them.
    batches: tuple[tuple[int, int], ...] | None = None
    #: The outputs in their order, once the model is known and where labels go by their names.
    _outputs: tuple[str, ...] | None = field(default=None)
    #: Classes that labels may have, once the model is known.
    _classes: Classes = field(default=())

    def __len__(self) -> int:
        """Return the number of rows."""
        return readers.rows(self.reader)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the numbers of the labels stand for."""
        return self.reader.class_names

    @property
    def sample(self) -> Any:
        """The shape of one sample; one for each input where there are several."""
        return readers.sample(self.reader.x)

    @property
    def labels(self) -> Any:
        """The labels as they are named: one, a tuple of several, or a dictionary."""
        if self._outputs is None or not isinstance(self.reader.y, Mapping):
            return self.reader.y
        found = tuple(self.reader.y[name] for name in self._outputs)
        return found[0] if len(found) == 1 else found

    def arranged(self, outputs: tuple[str, ...]) -> "Streamed":
        """Return the same with labels and weights in the order of the outputs, by whose names they go."""
        return replace(self, _outputs=outputs)

    def head(self, rows: int) -> Samples:
        """Return the first rows."""
        return self.read([(0, min(rows, len(self)))])

    def cut(self, first: int, end: int) -> "Streamed":
        """Return the rows from `first` up to `end`."""
        return replace(self, reader=Cut(self.reader, first, end))

    def unweighted(self) -> "Streamed":
        """Return the same without the weights of classes, which count in training only."""
        return replace(self, how=replace(self.how, class_weight=None))

    def check_labels(self, classes: Classes) -> None:
        """Let the labels of each window be checked when it is read."""
        self._classes = classes

    def read(self, ranges: list[tuple[int, int]]) -> Samples:
        """Return the rows of some ranges, one after the other. Raise `BadData`."""
        each = max(1, _PIECE_BYTES // max(1, sum(one.bytes for one in readers.fields(self.reader))))
        pieces = [piece for one in ranges for piece in readers.pieces(*one, each)]
        begun = self._piece(*pieces[0])
        if len(pieces) == 1:
            return begun
        held = _Gathered(begun, sum(end - first for first, end in pieces))
        for piece in pieces[1:]:
            held.add(self._piece(*piece))
        return held.samples

    def _piece(self, first: int, end: int) -> Samples:
        samples = self.how.samples(self.reader.read(first, end), first=first)
        samples = samples if self._outputs is None else samples.arranged(self._outputs)
        samples.check_labels(self._classes, first=first)
        return samples


class _Gathered:
    """Samples that are put together piece by piece, so that memory holds them once."""

    def __init__(self, first: Samples, rows: int) -> None:
        """Make room for so many rows like the `first` ones, and take these."""
        self.samples = first.map(lambda array: np.empty((rows, *array.shape[1:]), array.dtype))
        self._at = 0
        self.add(first)

    def add(self, piece: Samples) -> None:
        """Take the next rows."""
        rows = slice(self._at, self._at + len(piece))
        for there, here in zip(self.samples.arrays(), piece.arrays(), strict=True):
            there[rows] = here
        self._at += len(piece)


def whole(reader: Reader, how: Preparation) -> Samples:
    """Return all rows of a source, in memory. Raise `BadData`."""
    count = readers.rows(reader)
    return replace(Streamed(reader, how, count).read([(0, count)]), class_names=reader.class_names)
