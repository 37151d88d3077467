"""How a model is compiled, fitted and saved: Keras's own arguments, as far as they can travel. Pure."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared import architecture
from shared.parts import MetricName, Part, allowed


class Compile(Part):
    """Keras's `compile`: each by name ("adam"), in short form ({"Adam": {…}}) or as a Keras configuration."""

    optimizer: str | dict[str, Any] = "rmsprop"
    loss: str | dict[str, Any]
    metrics: list[str | dict[str, Any]] = Field(default_factory=list, max_length=64)

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        allowed(architecture.checked_optimizer, value)
        return value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        allowed(architecture.checked_loss, value)
        return value

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        for index, metric in enumerate(value):
            allowed(architecture.checked_metric, metric, pointer=f"/{index}")
        return value


class Fit(Part):
    """Keras's `fit`, as far as it can travel."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    initial_epoch: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    steps_per_epoch: Annotated[int, Field(ge=1, le=2**40)] | None = Field(
        None, description="Steps of an epoch; the next epoch goes on in the data where this one stopped"
    )
    validation_batch_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    validation_steps: Annotated[int, Field(ge=1, le=2**40)] | None = None
    validation_freq: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    on_nan: Literal["fail", "continue"] = Field("fail", description="What a NaN loss does to the job")

    @model_validator(mode="after")
    def _some_epochs(self) -> Self:
        if self.initial_epoch >= self.epochs:
            raise PydanticCustomError("epochs", "epochs must be greater than initial_epoch")
        return self


class Checkpoint(Part):
    """When the state is saved, and which of the saved ones stay."""

    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    monitor: MetricName | None = Field(None, description="Default: val_loss with validation data, else loss")
    mode: Literal["auto", "min", "max"] = "auto"
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2
