"""The job spec: what a job is, validated, frozen, unknown fields refused. Pure.

`parse` is the only door: it returns a spec or raises `BadSpec` with a JSON pointer for every wrong
field. The same models make the OpenAPI document.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, Tag, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared import architecture
from shared.data_spec import EvaluateData, PredictData, TrainData
from shared.errors import BadSpec, FieldError
from shared.parts import JobId, MetricName, Name, Part, allowed, alternatives, field_errors
from shared.states import Kind, Lane

#: The version of this contract; it grows when the meaning of a spec changes.
SPEC_VERSION = 1
#: Bytes of a submitted spec, at most.
SPEC_BYTES = 1_000_000


# --- the model ---


class LayersModel(Part):
    """A Sequential model as a short list of layers."""

    layers: list[Any] = Field(min_length=1, max_length=512, description='[{"Dense": {"units": 10}}, …]')
    input_shape: list[int | None] = Field(max_length=8, description="One sample's shape, without the batch axis")

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

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: dict[str, Any] | str) -> dict[str, Any] | str:
        allowed(architecture.checked, value)
        return value

    def keras_config(self) -> dict[str, Any]:
        """Return the checked Keras configuration."""
        return architecture.checked(self.architecture)


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
    | Annotated[JobModel, Tag("<job>")],
    alternatives("model", layers="layers", architecture="architecture", job="job"),
]


# --- how ---


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


class Resources(Part):
    """What a job may take."""

    lane: Lane = Field(Lane.CPU, strict=False)
    memory_mb: Annotated[int, Field(ge=64, le=16_777_216)] = Field(
        2048, description="Resident memory; over it the job ends as oom_host. Claimed only where so much is free"
    )
    time_limit_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Seconds of running, all attempts together; over it the job ends as timeout"
    )
    stall_limit_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        600.0, description="Seconds without a finished step; over it the runner is killed and the job tried again"
    )


class _Job(Part):
    spec_version: Literal[1] = 1
    name: Name | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        None, description="Seeds weights, data order and random layers; absent, one is drawn at submit"
    )
    resources: Resources = Resources()
    priority: Annotated[int, Field(ge=-100, le=100)] = Field(0, description="One point is worth ten minutes of waiting")
    retries: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="Faults of the machine in a row, without a new checkpoint, that the job survives"
    )
    tags: dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,100}$")],
        Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")],
    ] = Field(default_factory=dict, max_length=50)


class TrainSpec(_Job):
    """A job that trains a model."""

    kind: Literal["train"] = "train"
    model: Model
    data: TrainData
    compile: Compile
    fit: Fit = Fit()
    callbacks: list[str | dict[str, Any]] = Field(default_factory=list, max_length=32)
    checkpoint: Checkpoint = Checkpoint()

    @field_validator("callbacks")
    @classmethod
    def _known_callbacks(cls, value: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        for index, callback in enumerate(value):
            allowed(architecture.checked_callback, callback, pointer=f"/{index}")
        return value


class EvaluateSpec(_Job):
    """A job that measures a model on data. `compile`, `scale` and `one_hot` are the source job's unless given."""

    kind: Literal["evaluate"] = "evaluate"
    model: Model
    data: EvaluateData
    compile: Compile | None = None
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32

    @model_validator(mode="after")
    def _has_a_loss(self) -> Self:
        if self.compile is None and not isinstance(self.model, JobModel):
            raise PydanticCustomError("compile", "compile is needed to evaluate a model that is not another job's")
        return self


class PredictSpec(_Job):
    """A job that predicts. `scale` is the source job's unless given."""

    kind: Literal["predict"] = "predict"
    model: Model
    data: PredictData
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    head: Literal["softmax"] | None = Field(None, description="Append a Softmax layer to the model")
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="Return the k most likely classes")
    class_names: list[Name] | None = Field(None, max_length=100_000)


Spec = TrainSpec | EvaluateSpec | PredictSpec
SPECS: dict[Kind, type[Spec]] = {Kind.TRAIN: TrainSpec, Kind.EVALUATE: EvaluateSpec, Kind.PREDICT: PredictSpec}


def parse(value: object) -> Spec:
    """Return the spec that `value` (parsed JSON) describes; raise `BadSpec` naming every wrong field."""
    if not isinstance(value, dict):
        raise BadSpec("A job spec must be a JSON object.", fields=(FieldError("", "must be an object"),))
    kinds = ", ".join(f"'{kind}'" for kind in SPECS)
    try:
        model = SPECS[Kind(str(value.get("kind")))]
    except (ValueError, KeyError):
        raise BadSpec(
            f"kind must be one of {kinds}.", fields=(FieldError("/kind", f"must be one of {kinds}"),)
        ) from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = field_errors(error)
        raise BadSpec(_summary(fields), fields=fields) from error


def _summary(fields: tuple[FieldError, ...]) -> str:
    first = f"{fields[0].pointer or 'the spec'}: {fields[0].message}"
    return f"The job spec is wrong: {first}" + (f" (and {len(fields) - 1} more)" if len(fields) > 1 else "")
