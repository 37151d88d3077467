"""How a model is compiled, fitted and saved: Keras's own arguments, as far as they can travel. Pure."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared import architecture, objectives
from shared.parts import MetricName, Part, allowed

_Object = str | dict[str, Any]
_Metrics = list[_Object | list[_Object] | None] | dict[str, _Object | list[_Object] | None]
_Weight = Annotated[float, Field(ge=-1e12, le=1e12)]
_CONTINUE = "Take up the optimizer's state, and that of the random numbers, that came with the model"


class Compile(Part):
    """Keras's `compile`: each by name ("adam"), in short form ({"Adam": {…}}) or as a Keras configuration."""

    optimizer: _Object = "rmsprop"
    loss: _Object | list[_Object | None] | None = Field(
        description="Of several outputs: a list, or an object by the outputs' names. Null: what the model adds itself"
    )
    loss_weights: (
        Annotated[list[_Weight], Field(max_length=objectives.OUTPUTS_MOST)]
        | Annotated[dict[str, _Weight], Field(max_length=objectives.OUTPUTS_MOST)]
        | None
    ) = Field(None, description="How much each output's loss counts")
    metrics: _Metrics = Field(
        default_factory=list, description="Of several outputs: a list of lists, or an object by the outputs' names"
    )
    weighted_metrics: _Metrics = Field(
        default_factory=list, description="Metrics that sample and class weights apply to"
    )
    jit_compile: bool | Literal["auto"] = Field("auto", description="XLA; auto: on GPUs only")
    run_eagerly: bool = Field(False, description="Run step by step in Python: slow, to look for a fault")
    auto_scale_loss: bool = Field(True, description="Scale the loss of a model in mixed_float16")
    steps_per_execution: Annotated[int, Field(ge=1, le=2**40)] = Field(
        1, description="Taken and without effect: steps run one by one, with the same numbers"
    )
    continue_optimizer: bool = Field(False, description=_CONTINUE)

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: _Object) -> _Object:
        allowed(architecture.checked_optimizer, value)
        return value

    @field_validator("loss")
    @classmethod
    def _known_losses(cls, value: Any) -> Any:
        objectives.losses(value, _checked(architecture.checked_loss))
        return value

    @field_validator("metrics", "weighted_metrics")
    @classmethod
    def _known_metrics(cls, value: Any) -> Any:
        objectives.metrics(value, _checked(architecture.checked_metric))
        return value

    @model_serializer(mode="wrap")
    def _with_its_loss(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a loss that is null, too: without one, the field would be missing when the spec is read back."""
        return {"loss": None, **write(self)}


def _checked(check: Callable[..., Any]) -> objectives.Make[Any]:
    return lambda one, pointer: allowed(check, one, pointer=pointer)


class SavedCompile(Part):
    """A model compiled as its file says, or as its source job did."""

    continue_optimizer: bool = Field(False, description=_CONTINUE)


def _compile_tag(value: Any) -> str:
    keys = value.model_fields_set if isinstance(value, Part) else value if isinstance(value, dict) else {"loss"}
    return "<saved>" if set(keys) <= {"continue_optimizer"} else "<compile>"


#: How a train job compiles: as it says, or as the model's source did.
TrainCompile = Annotated[
    Annotated[Compile, Tag("<compile>")] | Annotated[SavedCompile, Tag("<saved>")], Discriminator(_compile_tag)
]


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
    class_weight: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,4})$")],
                Annotated[float, Field(ge=0, le=1e12)],
            ],
            Field(min_length=1, max_length=100_000),
        ]
        | None
    ) = Field(None, description="How much samples of each class count, by its number; 1 where it is not named")
    on_nan: Literal["fail", "continue"] = Field("fail", description="What a NaN loss does to the job")

    @model_validator(mode="after")
    def _some_epochs(self) -> Self:
        if self.initial_epoch >= self.epochs:
            raise PydanticCustomError("epochs", "epochs must be greater than initial_epoch")
        return self


class Checkpoint(Part):
    """When the state is saved, and which of the saved ones stay."""

    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    every_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Save within an epoch too, when the last checkpoint is so many seconds old"
    )
    monitor: MetricName | None = Field(None, description="Default: val_loss with validation data, else loss")
    mode: Literal["auto", "min", "max"] = "auto"
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2
