"""The job spec: what a job is, validated, frozen, unknown fields refused. Pure.

`parse` is the only door: it returns a spec or raises `BadSpec` with a JSON pointer for every wrong
field. The same models make the OpenAPI document.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from shared import callback_spec
from shared.callback_spec import Callbacks
from shared.data_spec import EvaluateData, PredictData, TrainData
from shared.errors import BadSpec, FieldError
from shared.fit_spec import Checkpoint, Compile, Fit, TrainCompile
from shared.formats import Format
from shared.model_spec import ArchitectureModel, JobModel, LayersModel, Model, UploadModel
from shared.parts import Name, Part, SpecFault, field_errors
from shared.states import Kind, Lane

#: The version of this contract; it grows when the meaning of a spec changes.
SPEC_VERSION = 1
#: Bytes of a submitted spec, at most.
SPEC_BYTES = 1_000_000


class Resources(Part):
    """What a job may take."""

    lane: Lane = Field(Lane.CPU, strict=False)
    memory_mb: Annotated[int, Field(ge=64, le=16_777_216)] = Field(
        2048, description="Resident memory; over it the job ends as oom_host. Claimed only where so much is free"
    )
    time_limit_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Seconds of running, all attempts together; over it the job ends as timeout"
    )
    disk_mb: Annotated[int, Field(ge=1, le=16_777_216)] | None = Field(
        None,
        description="What it may leave on the volume, MiB: checkpoints and artifacts; over it it ends as disk_limit",
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
    compile: TrainCompile | None = None
    fit: Fit = Fit()
    callbacks: Callbacks = Field(default_factory=list)
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _a_rate_for_each_epoch(self) -> Self:
        callback_spec.check_rates(self.callbacks, self.fit.epochs)
        return self

    @model_validator(mode="after")
    def _knows_how_to_compile(self) -> Self:
        if not isinstance(self.model, (LayersModel, ArchitectureModel)):
            return self
        if not isinstance(self.compile, Compile):
            raise _fault("/compile", "needs a loss: only an uploaded model or another job's brings how it was compiled")
        if self.compile.continue_optimizer and self.model.weights is None:
            raise _fault("/compile/continue_optimizer", "needs a model with a state: an upload, weights, or a job")
        return self


class EvaluateSpec(_Job):
    """A job that measures a model on data. `compile`, `scale` and `one_hot` are the source job's unless given."""

    kind: Literal["evaluate"] = "evaluate"
    model: Model
    data: EvaluateData
    compile: Compile | None = None
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    steps: Annotated[int, Field(ge=1, le=2**40)] | None = Field(None, description="Batches to measure on; default: all")

    @model_validator(mode="after")
    def _has_a_loss(self) -> Self:
        if self.compile is None and not isinstance(self.model, (JobModel, UploadModel)):
            raise PydanticCustomError("compile", "compile is needed to evaluate a model that brings none")
        return self


class PredictSpec(_Job):
    """A job that predicts. `scale` is the source job's unless given."""

    kind: Literal["predict"] = "predict"
    model: Model
    data: PredictData
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    steps: Annotated[int, Field(ge=1, le=2**40)] | None = Field(
        None, description="Batches to predict, pass after pass over the data; absent, one pass"
    )
    head: Literal["softmax"] | None = Field(None, description="Append a Softmax layer to the model")
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="Return the k most likely classes")
    class_names: list[Name] | None = Field(None, max_length=100_000)
    save: Literal["npz", "parquet"] = Field("npz", description="The file that holds all predictions")


class ExportSpec(_Job):
    """An internal job that writes a trained model in another format; nobody submits it."""

    kind: Literal["export"] = "export"
    model: JobModel
    format: Format = Field(strict=False)


Spec = TrainSpec | EvaluateSpec | PredictSpec
SPECS: dict[Kind, type[Spec]] = {Kind.TRAIN: TrainSpec, Kind.EVALUATE: EvaluateSpec, Kind.PREDICT: PredictSpec}


def _fault(place: str, message: str) -> SpecFault:
    return SpecFault((FieldError(place, message),))


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
