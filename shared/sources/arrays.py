"""Sources of whole arrays: data sets by name, small arrays inline, `.npz` and `.npy` files. Pure."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.parts import ArrayName, FilePath, Part
from shared.sources.part import SourcePart

#: Numbers in an inline array, at most.
INLINE_NUMBERS = 200_000
#: Axes of an inline array, at most.
AXES_MOST = 16

#: The names of `keras.datasets`, and scikit-learn's bundled digits.
DATASETS = (
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "imdb",
    "mnist",
    "reuters",
)
#: Those that hold texts, as sequences of words' numbers.
TEXTS = frozenset({"imdb", "reuters"})
#: Words of a text, and different words, at most.
WORDS_MOST = 100_000

#: Arrays of one source, and changes of its batches' size, at most.
ARRAYS_MOST, RUNS_MOST = 64, 100_000

_Count = Annotated[int, Field(ge=1, le=2**40)]
_Run = Annotated[list[_Count], Field(min_length=2, max_length=2)]
_InputName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
#: One array of a file, several in the order of the model's inputs or outputs, or several by their names.
ArrayNames = (
    ArrayName
    | Annotated[list[ArrayName], Field(min_length=1, max_length=ARRAYS_MOST)]
    | Annotated[dict[_InputName, ArrayName], Field(min_length=1, max_length=ARRAYS_MOST)]
)
#: The same of files that hold one array each.
ArrayFiles = (
    FilePath
    | Annotated[list[FilePath], Field(min_length=1, max_length=ARRAYS_MOST)]
    | Annotated[dict[_InputName, FilePath], Field(min_length=1, max_length=ARRAYS_MOST)]
)


class ArraySource(SourcePart):
    """A source whose rows are in memory together, so that they may be cut into whatever batches."""

    batches: Annotated[list[_Run], Field(min_length=1, max_length=RUNS_MOST)] | None = Field(
        None, description="The consecutive batches of one pass, as [rows, count] of equal ones; instead of batch_size"
    )


class DatasetSource(ArraySource):
    """A data set by name: one of `keras.datasets`, or scikit-learn's `digits`."""

    dataset: Literal[DATASETS]  # type: ignore[valid-type]
    split: Literal["train", "test"] = "train"
    maxlen: Annotated[int, Field(ge=1, le=WORDS_MOST)] | None = Field(
        None, description="Of texts: the words of each, to which it is cut or filled up with 0"
    )
    num_words: Annotated[int, Field(ge=4, le=WORDS_MOST)] | None = Field(
        None, description="Of texts: only words of a number below this, the most frequent; others become 2"
    )
    padding: Literal["pre", "post"] | None = Field(None, description="Of texts: fill up in front (default) or behind")
    truncating: Literal["pre", "post"] | None = Field(None, description="Of texts: cut in front (default) or behind")

    @model_validator(mode="after")
    def _texts_have_a_length(self) -> Self:
        if self.dataset in TEXTS and self.maxlen is None:
            raise PydanticCustomError(
                "maxlen",
                "{name} holds texts of different lengths; give maxlen, to which each is cut or filled up",
                {"name": self.dataset},
            )
        given = [one for one in ("maxlen", "num_words", "padding", "truncating") if getattr(self, one) is not None]
        if given and self.dataset not in TEXTS:
            raise PydanticCustomError(
                "texts", "{field} is for texts; {name} holds none", {"field": given[0], "name": self.dataset}
            )
        return self


class InlineSource(ArraySource):
    """Small arrays as nested lists of numbers; an object holds several, by the names of inputs or outputs."""

    x: list[Any] | Annotated[dict[_InputName, list[Any]], Field(min_length=1, max_length=ARRAYS_MOST)]
    y: list[Any] | Annotated[dict[_InputName, list[Any]], Field(min_length=1, max_length=ARRAYS_MOST)] | None = None
    sample_weight: list[Any] | None = None

    @field_validator("x", "y", "sample_weight")
    @classmethod
    def _regular(cls, value: Any) -> Any:
        for one in value.values() if isinstance(value, dict) else () if value is None else (value,):
            _check_nested(one)
        return value


class SampleSource(Part):
    """One sample inline, without the batch axis; an object holds those of several inputs, by their names."""

    sample: list[Any] | Annotated[dict[_InputName, list[Any]], Field(min_length=1, max_length=ARRAYS_MOST)]

    @field_validator("sample")
    @classmethod
    def _regular(cls, value: Any) -> Any:
        for one in value.values() if isinstance(value, dict) else (value,):
            _check_nested(one)
        return value

    def as_rows(self) -> InlineSource:
        """Return an array of one row, which is the sample; one for each of several inputs."""
        if isinstance(self.sample, dict):
            return InlineSource(x={name: [one] for name, one in self.sample.items()})
        return InlineSource(x=[self.sample])


class NpzSource(ArraySource):
    """Arrays of an `.npz` file."""

    npz: FilePath
    x: ArrayNames = "x"
    y: ArrayNames | None = "y"
    sample_weight: ArrayNames | None = None


class NpySource(ArraySource):
    """An `.npy` file, and one with its labels; or several of each."""

    npy: ArrayFiles
    labels: ArrayFiles | None = None
    sample_weight: ArrayFiles | None = None


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
