"""The data of a job: its sources, and how they are prepared. Pure."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from shared.parts import Part
from shared.sources.arrays import DatasetSource, InlineSource, NpySource, NpzSource, SampleSource
from shared.sources.files import CsvSource, ImagesSource, ParquetSource, TfrecordSource

#: The keys that tell the sources apart; a source of arrays inline has none of them, but `x`.
_FORMS = ("dataset", "npz", "npy", "csv", "parquet", "tfrecord", "images")


def _source_tag(value: Any) -> str | None:
    keys = value.model_fields_set if isinstance(value, Part) else value if isinstance(value, dict) else ()
    found = [key for key in _FORMS if key in keys]
    if len(found) > 1:
        return None
    # `x` beside `npz` names an array; alone it is one.
    return f"<{found[0]}>" if found else "<x>" if "x" in keys else None


Source = Annotated[
    Annotated[DatasetSource, Tag("<dataset>")]
    | Annotated[NpzSource, Tag("<npz>")]
    | Annotated[NpySource, Tag("<npy>")]
    | Annotated[CsvSource, Tag("<csv>")]
    | Annotated[ParquetSource, Tag("<parquet>")]
    | Annotated[TfrecordSource, Tag("<tfrecord>")]
    | Annotated[ImagesSource, Tag("<images>")]
    | Annotated[InlineSource, Tag("<x>")],
    Discriminator(
        _source_tag,
        custom_error_type="one_of",
        custom_error_message="a data source must be an object with exactly one of "
        + ", ".join(f"'{form}'" for form in _FORMS)
        + " or 'x'",
    ),
]

#: What a predict job predicts: a source, or one sample.
Input = Annotated[
    Annotated[SampleSource, Tag("<sample>")] | Annotated[Source, Tag("<source>")],
    Discriminator(lambda value: "<sample>" if "sample" in _keys(value) else "<source>"),
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
    repeat: bool = Field(True, description="Where more steps are asked for than a pass has, go on with the next pass")


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

    input: Input
