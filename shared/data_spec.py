"""The data of a job: sources of arrays, and how they are prepared. Pure."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator
from pydantic_core import PydanticCustomError

from shared.parts import ArrayName, FilePath, Part

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


class _Source(Part):
    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Use only the rows from the first number up to (not including) the second"
    )

    @field_validator("rows")
    @classmethod
    def _forwards(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and value[0] >= value[1]:
            raise PydanticCustomError("rows", "rows must be [first, end] with first < end")
        return value


class DatasetSource(_Source):
    """A data set by name: one of `keras.datasets`, or scikit-learn's `digits`."""

    dataset: Literal[DATASETS]  # type: ignore[valid-type]
    split: Literal["train", "test"] = "train"


class InlineSource(_Source):
    """Small arrays as nested lists of numbers."""

    x: list[Any]
    y: list[Any] | None = None

    @field_validator("x", "y")
    @classmethod
    def _regular(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None:
            _check_nested(value)
        return value


class NpzSource(_Source):
    """Arrays of an `.npz` file below the volume's `data` folder."""

    npz: FilePath
    x: ArrayName = "x"
    y: ArrayName | None = "y"


class NpySource(_Source):
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


def _source_tag(value: Any) -> str | None:
    keys = value.model_fields_set if isinstance(value, Part) else value if isinstance(value, dict) else ()
    found = [key for key in ("dataset", "npz", "npy") if key in keys]
    if len(found) > 1:
        return None
    # `x` beside `npz` names an array; alone it is one.
    return f"<{found[0]}>" if found else "<x>" if "x" in keys else None


Source = Annotated[
    Annotated[DatasetSource, Tag("<dataset>")]
    | Annotated[NpzSource, Tag("<npz>")]
    | Annotated[NpySource, Tag("<npy>")]
    | Annotated[InlineSource, Tag("<x>")],
    Discriminator(
        _source_tag,
        custom_error_type="one_of",
        custom_error_message="a data source must be an object with exactly one of 'dataset', 'npz', 'npy' or 'x'",
    ),
]


class Split(Part):
    """The last part of the training data, taken before shuffling, as Keras's `validation_split`."""

    split: Annotated[float, Field(gt=0, lt=1)]


Validation = Annotated[
    Annotated[Split, Tag("<split>")] | Annotated[Source, Tag("<source>")],
    Discriminator(lambda value: "<split>" if _keys(value) == {"split"} else "<source>"),
]


def _keys(value: Any) -> set[str]:
    return set(value.model_fields_set) if isinstance(value, Part) else set(value) if isinstance(value, dict) else set()


class _Scaled(Part):
    scale: Annotated[float, Field(description="Every x is multiplied by this")] | None = None


class _Labelled(_Scaled):
    one_hot: (
        Annotated[int, Field(ge=2, le=100_000, description="Labels become one-hot rows of so many classes")] | None
    ) = None


class TrainData(_Labelled):
    """What a train job learns from."""

    train: Source
    validation: Validation | None = None
    shuffle: bool = True


class EvaluateData(_Labelled):
    """What an evaluate job measures on."""

    test: Source


class PredictData(_Scaled):
    """What a predict job predicts."""

    input: Source
