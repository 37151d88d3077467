"""The model of a job: where it comes from. Pure."""

from typing import Annotated, Any, Self

from pydantic import Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared import architecture
from shared.parts import FilePath, JobId, Part, WeightsPath, allowed, alternatives

_WEIGHTS = (
    "File with the weights: a .weights.h5, an .h5 of older Keras, a checkpoint of fitq; or a TensorFlow checkpoint: a "
    "zip or tar archive of its files, or what their names below `data` begin with"
)


class LayersModel(Part):
    """A Sequential model as a short list of layers."""

    layers: list[Any] = Field(min_length=1, max_length=512, description='[{"Dense": {"units": 10}}, …]')
    input_shape: list[int | None] = Field(max_length=8, description="One sample's shape, without the batch axis")
    weights: WeightsPath | None = Field(None, description=_WEIGHTS)

    @model_validator(mode="after")
    def _known_layers(self) -> Self:
        allowed(architecture.from_layers, self.layers, self.input_shape)
        return self

    def keras_config(self) -> dict[str, Any]:
        """Return the checked Keras configuration."""
        return architecture.from_layers(self.layers, self.input_shape)


class ArchitectureModel(Part):
    """A Keras architecture: the object, or the text, that `Model.to_json()` gives."""

    architecture: dict[str, Any] | str
    weights: WeightsPath | None = Field(None, description=_WEIGHTS)

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: dict[str, Any] | str) -> dict[str, Any] | str:
        allowed(architecture.checked, value)
        return value

    def keras_config(self) -> dict[str, Any]:
        """Return the checked Keras configuration."""
        return architecture.checked(self.architecture)


class UploadModel(Part):
    """A whole model in a file: architecture, weights, and how it was compiled."""

    upload: FilePath = Field(description="A .keras, or an .h5 with a whole model")


class JobModel(Part):
    """The model that another job trained. It is resolved and pinned at submit."""

    job: JobId
    checkpoint: int | str = Field(
        "final",
        description="`final`: what fit leaves in the model; `last`; `best` by checkpoint.monitor; a number: that epoch",
    )

    @field_validator("checkpoint")
    @classmethod
    def _known_checkpoint(cls, value: int | str) -> int | str:
        if value not in {"final", "last", "best"} and not (isinstance(value, int) and value >= 0):
            raise PydanticCustomError("checkpoint", "checkpoint must be 'final', 'last', 'best' or an epoch from 0")
        return value


Model = Annotated[
    Annotated[LayersModel, Tag("<layers>")]
    | Annotated[ArchitectureModel, Tag("<architecture>")]
    | Annotated[UploadModel, Tag("<upload>")]
    | Annotated[JobModel, Tag("<job>")],
    alternatives("model", layers="layers", architecture="architecture", upload="upload", job="job"),
]
