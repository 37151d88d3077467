"""Sources that are read block by block: CSV, Parquet, TFRecord, and images in folders of their classes. Pure."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.parts import FilePath, FolderPath, Name, Part
from shared.sources.part import SourcePart

#: Columns or features that one source names, at most.
COLUMNS_MOST = 10_000
#: Files that one source names, at most.
FILES_MOST = 10_000
#: Pixels on one side of a model's input, at most.
SIDE_MOST = 4096
#: Numbers of one feature, at most.
FEATURE_NUMBERS = 16_777_216

Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: The classes of labels that are words, in the order of their numbers.
ClassNames = Annotated[list[Name], Field(min_length=1, max_length=100_000)]
Shape = Annotated[list[Annotated[int, Field(ge=1, le=FEATURE_NUMBERS)]], Field(max_length=8)]


class _ClassedSource(SourcePart):
    class_names: ClassNames | None = Field(
        None, description="The classes of labels that are words, by number; default: those found, sorted"
    )

    @field_validator("class_names")
    @classmethod
    def _once_each(cls, value: list[str] | None) -> list[str] | None:
        return _distinct(value, "class_names")


class _TableSource(_ClassedSource):
    label: Column | None = Field(None, description="The column of labels, numbers or words")
    columns: Annotated[list[Column], Field(min_length=1, max_length=COLUMNS_MOST)] | None = Field(
        None, description="The columns of inputs, in this order; default: all the others as they stand"
    )
    sample_weight: Column | None = Field(None, description="The column of sample weights")

    @field_validator("columns")
    @classmethod
    def _columns_once(cls, value: list[str] | None) -> list[str] | None:
        return _distinct(value, "columns")

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        _check_roles(self.label, self.sample_weight, self.columns or ())
        return self


class CsvSource(_TableSource):
    """A CSV file (RFC 4180, UTF-8) with a header."""

    csv: FilePath
    delimiter: Literal[",", ";", "\t", "|"] = ","


class ParquetSource(_TableSource):
    """A Parquet file."""

    parquet: FilePath


class Feature(Part):
    """One feature of the examples in a TFRecord file."""

    shape: Shape = Field(default_factory=list, description="One sample's shape; of an image: height, width, channels")
    dtype: Literal[
        "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "string"
    ] = "float32"
    decode: Literal["raw", "jpeg", "png"] | None = Field(
        None, description="How the feature's bytes are read: as raw little-endian numbers, or as an image"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        size = 1
        for length in self.shape:
            size *= length
        if size > FEATURE_NUMBERS:
            raise PydanticCustomError("shape", f"a feature holds at most {FEATURE_NUMBERS} numbers")
        if self.dtype == "string" and (self.decode or self.shape):
            raise PydanticCustomError("dtype", "a feature of dtype 'string' is a label: no shape, no decode")
        if self.decode in {"jpeg", "png"} and (len(self.shape) != 3 or self.shape[2] not in {1, 3, 4}):  # noqa: PLR2004
            raise PydanticCustomError("shape", "the shape of an image is [height, width, 1, 3 or 4]")
        if self.decode in {"jpeg", "png"} and self.dtype != "uint8":
            raise PydanticCustomError("dtype", "an image that is decoded has dtype 'uint8'")
        if self.decode is None and self.dtype not in {"float32", "int64", "string"}:
            raise PydanticCustomError("dtype", 'an example holds float32, int64 and bytes; others need "decode": "raw"')
        return self


class TfrecordSource(_ClassedSource):
    """TFRecord files of `tf.train.Example`."""

    tfrecord: FilePath | Annotated[list[FilePath], Field(min_length=1, max_length=FILES_MOST)]
    features: Annotated[dict[Column, Feature], Field(min_length=1, max_length=COLUMNS_MOST)]
    label: Column | None = Field(None, description="The feature of labels")
    sample_weight: Column | None = Field(None, description="The feature of sample weights")

    @model_validator(mode="after")
    def _features_are_named(self) -> Self:
        _check_roles(self.label, self.sample_weight, ())
        for field, name in (("label", self.label), ("sample_weight", self.sample_weight)):
            if name is not None and name not in self.features:
                raise PydanticCustomError("features", "{said}", {"said": f"{field} '{name}' is not one of features"})
        inputs = set(self.features) - {self.label, self.sample_weight}
        if not inputs:
            raise PydanticCustomError("features", "features names no input beside label and sample_weight")
        if any(self.features[name].dtype == "string" for name in inputs):
            raise PydanticCustomError("features", "only the label may have dtype 'string'")
        if self.label is not None and self.features[self.label].dtype == "string" and self.class_names is None:
            raise PydanticCustomError("class_names", "a label of dtype 'string' needs class_names")
        return self


class ImagesSource(_ClassedSource):
    """Images in folders that are named for their classes: a folder, or a `.zip` of one."""

    images: FolderPath
    image_size: Annotated[
        list[Annotated[int, Field(ge=1, le=SIDE_MOST)]],
        Field(min_length=2, max_length=2, description="Height and width to which each image is resized (bilinear)"),
    ]
    color: Literal["grayscale", "rgb", "rgba"] = "rgb"


def _distinct(value: list[str] | None, what: str) -> list[str] | None:
    if value is not None and len(set(value)) != len(value):
        raise PydanticCustomError("distinct", f"{what} names something twice")
    return value


def _check_roles(label: str | None, weight: str | None, columns: list[str] | tuple[()]) -> None:
    if label is not None and label == weight:
        raise PydanticCustomError("roles", "label and sample_weight name the same")
    for field, name in (("label", label), ("sample_weight", weight)):
        if name is not None and name in columns:
            raise PydanticCustomError("roles", "{said}", {"said": f"{field} '{name}' is one of columns, too"})
