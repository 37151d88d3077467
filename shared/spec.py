"""The job spec: what a job is, validated, frozen, unknown fields refused. Pure.

`parse` is the only door: it returns a spec or raises `BadSpec` with a JSON pointer for every wrong
field. The same models make the OpenAPI document.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from shared import architecture
from shared.errors import BadSpec, FieldError
from shared.states import Kind, Lane

#: The version of this contract; it grows when the meaning of a spec changes.
SPEC_VERSION = 1
#: Bytes of a submitted spec, at most.
SPEC_BYTES = 1_000_000
#: Numbers in an inline array, at most.
INLINE_NUMBERS = 200_000

#: The names of `keras.datasets` that hold arrays, and scikit-learn's bundled digits.
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

JobId = Annotated[
    str, StringConstraints(pattern=r"^job_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
#: A path below the volume's `data` folder.
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\\]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
ArrayName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/@-]{1,200}$")]


class SpecFault(ValueError):
    """A `BadSpec` on its way through pydantic, which takes only ValueErrors for a field's error."""

    def __init__(self, fields: tuple[FieldError, ...]) -> None:
        """Carry the wrong fields, their pointers relative to the value that was checked."""
        super().__init__("; ".join(field.message for field in fields))
        self.fields = fields


def _allowed(check: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Check against the allow-list, turning its error into one that pydantic places."""
    try:
        return check(*args, **kwargs)
    except BadSpec as error:
        raise SpecFault(error.fields or (FieldError("", error.message),)) from error


class _Part(BaseModel):
    """What every part of a spec has in common: frozen, strict about types and unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _alternatives(field: str, **tags: str) -> Discriminator:
    """Choose a union's member by the key that is there; the tag's angle brackets keep it out of pointers."""

    def choose(value: Any) -> str | None:
        if isinstance(value, _Part):
            value = value.model_fields_set
        found = [f"<{tag}>" for key, tag in tags.items() if isinstance(value, (dict, set, frozenset)) and key in value]
        return found[0] if len(found) == 1 else None

    keys = ", ".join(f"'{key}'" for key in tags)
    return Discriminator(
        choose,
        custom_error_type="one_of",
        custom_error_message=f"{field} must be an object with exactly one of {keys}",
    )


# --- the model ---


class LayersModel(_Part):
    """A Sequential model as a short list of layers."""

    layers: list[Any] = Field(min_length=1, max_length=512, description='[{"Dense": {"units": 10}}, …]')
    input_shape: list[int | None] = Field(max_length=8, description="One sample's shape, without the batch axis")

    @model_validator(mode="after")
    def _known_layers(self) -> Self:
        _allowed(architecture.from_layers, self.layers, self.input_shape)
        return self

    def keras_config(self) -> dict[str, Any]:
        """Return the checked Keras configuration."""
        return architecture.from_layers(self.layers, self.input_shape)


class ArchitectureModel(_Part):
    """A Keras architecture: the object, or the text, that `Model.to_json()` gives."""

    architecture: dict[str, Any] | str

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: dict[str, Any] | str) -> dict[str, Any] | str:
        _allowed(architecture.checked, value)
        return value

    def keras_config(self) -> dict[str, Any]:
        """Return the checked Keras configuration."""
        return architecture.checked(self.architecture)


class JobModel(_Part):
    """The model that another job trained. It is resolved and pinned at submit."""

    job: JobId
    checkpoint: int | str = Field(
        "final",
        description="`final`: what fit leaves in the model; `last`; `best`: by checkpoint.monitor; a number: that epoch",
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
    _alternatives("model", layers="layers", architecture="architecture", job="job"),
]


# --- the data ---


class _Source(_Part):
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
    while True:
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
    if not all(isinstance(item, (int, float)) for item in level):
        raise PydanticCustomError("array", "the array must hold numbers only")


Source = Annotated[
    Annotated[DatasetSource, Tag("<dataset>")]
    | Annotated[NpzSource, Tag("<npz>")]
    | Annotated[NpySource, Tag("<npy>")]
    | Annotated[InlineSource, Tag("<x>")],
    Discriminator(
        lambda value: _source_tag(value),
        custom_error_type="one_of",
        custom_error_message="a data source must be an object with exactly one of 'dataset', 'npz', 'npy', or inline 'x'",
    ),
]


def _source_tag(value: Any) -> str | None:
    keys = value.model_fields_set if isinstance(value, _Part) else value if isinstance(value, dict) else ()
    found = [key for key in ("dataset", "npz", "npy") if key in keys]
    if len(found) > 1:
        return None
    # `x` beside `npz` names an array; alone it is one.
    return f"<{found[0]}>" if found else "<x>" if "x" in keys else None


class Split(_Part):
    """The last part of the training data, taken before shuffling, as Keras's `validation_split`."""

    split: Annotated[float, Field(gt=0, lt=1)]


Validation = Annotated[
    Annotated[Split, Tag("<split>")] | Annotated[Source, Tag("<source>")],
    Discriminator(lambda value: "<split>" if _keys(value) == {"split"} else "<source>"),
]


def _keys(value: Any) -> set[str]:
    return set(value.model_fields_set) if isinstance(value, _Part) else set(value) if isinstance(value, dict) else set()


class _Preparation(_Part):
    scale: Annotated[float, Field(description="Every x is multiplied by this")] | None = None
    one_hot: (
        Annotated[int, Field(ge=2, le=100_000, description="Labels become one-hot rows of so many classes")] | None
    ) = None


class TrainData(_Preparation):
    """What a train job learns from."""

    train: Source
    validation: Validation | None = None
    shuffle: bool = True


class EvaluateData(_Preparation):
    """What an evaluate job measures on."""

    test: Source


class PredictData(_Preparation):
    """What a predict job predicts."""

    input: Source


# --- how ---


class Compile(_Part):
    """Keras's `compile`: each by name ("adam"), in short form ({"Adam": {…}}) or as a Keras configuration."""

    optimizer: str | dict[str, Any] = "rmsprop"
    loss: str | dict[str, Any]
    metrics: list[str | dict[str, Any]] = Field(default_factory=list, max_length=64)

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        _allowed(architecture.checked_optimizer, value)
        return value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        _allowed(architecture.checked_loss, value)
        return value

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        for index, metric in enumerate(value):
            _allowed(architecture.checked_metric, metric, pointer=f"/{index}")
        return value


class Fit(_Part):
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


class Checkpoint(_Part):
    """When the state is saved, and which of the saved ones stay."""

    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    monitor: MetricName | None = Field(None, description="Default: val_loss with validation data, else loss")
    mode: Literal["auto", "min", "max"] = "auto"
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2


class Resources(_Part):
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


class _Job(_Part):
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
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,100}$")],
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
            _allowed(architecture.checked_callback, callback, pointer=f"/{index}")
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


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """Return pydantic's errors, and ours inside them, as JSON pointers and sentences; one for each pointer."""
    messages: dict[str, list[str]] = {}
    for detail in error.errors():
        for field in _fields_of(detail):
            said = messages.setdefault(field.pointer, [])
            if field.message not in said:
                said.append(field.message)
    return tuple(FieldError(place, ", or ".join(said)) for place, said in messages.items())


def _fields_of(detail: ErrorDetails) -> tuple[FieldError, ...]:
    base = pointer(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, SpecFault):
        return tuple(FieldError(base + field.pointer, field.message) for field in cause.fields)
    if detail["type"] == "extra_forbidden":
        return (FieldError(base, "is not a field here"),)
    return (FieldError(base, detail["msg"][:1].lower() + detail["msg"][1:]),)


def pointer(loc: tuple[int | str, ...]) -> str:
    """Return a location as a JSON pointer, without the names that pydantic gives a union's members."""
    parts = [str(part) for part in loc if not re.fullmatch(r"<.*>|(dict|list)\[.*\]|\[key\]", str(part))]
    if parts and parts[-1] in {"str", "int", "none"}:
        parts.pop()
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
