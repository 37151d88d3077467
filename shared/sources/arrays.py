"""Sources of whole arrays: data sets by name, small arrays inline, `.npz` and `.npy` files. Pure."""

from typing import Any, Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from shared.parts import ArrayName, FilePath, Part
from shared.sources.part import SourcePart

#: Numbers in an inline array, at most.
INLINE_NUMBERS = 200_000
#: Axes of an inline array, at most.
AXES_MOST = 16

#: The names of `keras.datasets` that hold arrays, and scikit-learn's bundled digits.
DATASETS = (
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "mnist",
)


class DatasetSource(SourcePart):
    """A data set by name: one of `keras.datasets`, or scikit-learn's `digits`."""

    dataset: Literal[DATASETS]  # type: ignore[valid-type]
    split: Literal["train", "test"] = "train"


class InlineSource(SourcePart):
    """Small arrays as nested lists of numbers."""

    x: list[Any]
    y: list[Any] | None = None

    @field_validator("x", "y")
    @classmethod
    def _regular(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None:
            _check_nested(value)
        return value


class SampleSource(Part):
    """One sample inline, without the batch axis."""

    sample: list[Any]

    @field_validator("sample")
    @classmethod
    def _regular(cls, value: list[Any]) -> list[Any]:
        _check_nested(value)
        return value

    def as_rows(self) -> InlineSource:
        """Return an array of one row, which is the sample."""
        return InlineSource(x=[self.sample])


class NpzSource(SourcePart):
    """Arrays of an `.npz` file below the volume's `data` folder."""

    npz: FilePath
    x: ArrayName = "x"
    y: ArrayName | None = "y"


class NpySource(SourcePart):
    """An `.npy` file below the volume's `data` folder, and one with its labels."""

    npy: FilePath
    labels: FilePath | None = None


def _check_nested(value: list[Any]) -> None:
    """Refuse what is no regular array of numbers, without recursion and with a cap."""
    level: list[Any] = [value]
    count = 0
    for _ in range(AXES_MOST):
        lengths = {len(item) for item in level}
        if len(lengths) != 1 or 0 in lengths:
            what = "is empty" if 0 in lengths else f"is ragged: rows of {min(lengths)} and of {max(lengths)}"
            raise PydanticCustomError("array", f"the array {what}")
        level = [item for part in level for item in part]
        count += len(level)
        if count > INLINE_NUMBERS:
            raise PydanticCustomError("array", f"an inline array holds at most {INLINE_NUMBERS} numbers; use a file")
        nested = {isinstance(item, list) for item in level}
        if nested == {False}:
            break
        if nested == {True, False}:
            raise PydanticCustomError("array", "the array is ragged: numbers beside lists")
    else:
        raise PydanticCustomError("array", f"the array has more than {AXES_MOST} axes")
    if not all(isinstance(item, (int, float)) for item in level):
        raise PydanticCustomError("array", "the array must hold numbers only")
