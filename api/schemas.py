"""What the API answers: the models behind the JSON and the OpenAPI document.

Times are RFC 3339 in UTC with `Z`. Numbers that are not finite are `null`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, RootModel, field_validator
from pydantic_core import PydanticCustomError

from shared import refs
from shared.formats import Format
from shared.parts import JobId, Name
from shared.states import CancelMode, Kind, Lane, State, ValueKind

_ID = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"


class ProblemError(BaseModel):
    """One wrong field of a request."""

    detail: str
    pointer: str | None = Field(None, description="Where in the body, as a JSON pointer (RFC 6901)")
    parameter: str | None = Field(None, description="Which query parameter or header")


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` is a sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str = Field(description="The X-Request-Id of this answer, for the server's log")
    errors: list[ProblemError] | None = None


class JobError(BaseModel):
    """Why a job failed."""

    code: str = Field(description="The failure class: bad_spec, bad_data, nan_loss, oom_host, timeout, crashed …")
    message: str


class Result(BaseModel, from_attributes=True):
    """What a job came to."""

    value: dict[str, Any] = Field(description="Metrics of evaluate, predictions of predict, a summary of train")
    weights_sha256: str | None = Field(description="Of the final model's variables (train)")
    final_checkpoint: str | None = Field(description="The checkpoint that holds what fit leaves in the model")
    attempt: int
    created_at: datetime


class Job(BaseModel):
    """A job as it stands now."""

    object: Literal["job"] = "job"
    id: JobId = Field(examples=[_ID])
    kind: Kind
    name: str | None
    state: State
    attempt: int = Field(description="The number of the last attempt; 0 before the first")
    progress: dict[str, Any] | None = Field(description="Phase, epoch, step and running metrics, as last reported")
    queue_position: int | None = Field(description="Jobs before it in its lane; only when it is read by its id")
    waiting_reason: str | None = Field(description="Why it waits, in a sentence; only when it is read by its id")
    error: JobError | None
    cancel_requested: CancelMode | None = Field(description="How its end was asked for")
    paused: bool = Field(description="Held back until it is resumed; while it still runs, asked to stop")
    parent_id: JobId | None = Field(description="The job whose training it goes on with")
    deleted_at: datetime | None = Field(description="When its files were deleted")
    worker: str | None = Field(description="The worker that runs it, or ran it last")
    lane: Lane
    priority: int
    seed: int
    retries: int
    tags: dict[str, str]
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]
    spec: dict[str, Any] | None = Field(description="The frozen job spec; null in lists")
    result: Result | None = Field(
        None, description="What the job came to; only in the answer to a submit that waited (Prefer: wait) to its end"
    )


class JobPage(BaseModel):
    """Jobs, the newest first."""

    object: Literal["list"] = "list"
    data: list[Job]
    has_more: bool
    next_cursor: str | None = Field(description="What `cursor` continues with")


class CancelBody(BaseModel, extra="forbid"):
    """How to end a job; `after_epoch` keeps the epoch that runs, `now` kills at once."""

    mode: CancelMode = CancelMode.AFTER_EPOCH


class ResumeBody(BaseModel, extra="forbid"):
    """How far a job that has ended is to be trained on; a paused job needs nothing."""

    epochs: int | None = Field(
        None, ge=1, le=1_000_000, description="Epochs in all, those that are done included; default: the job's own"
    )
    name: Name | None = Field(None, description="The new job's name; default: the job's own")


class Metric(BaseModel, from_attributes=True):
    """One metric of one epoch."""

    epoch: int = Field(description="From 0")
    name: str
    value: float | None = Field(description="null when it was not finite: see value_kind")
    value_kind: ValueKind
    attempt: int
    recorded_at: datetime


class MetricPage(BaseModel):
    """Metrics by epoch and name, in whole epochs."""

    object: Literal["list"] = "list"
    data: list[Metric]
    has_more: bool
    next_since_epoch: int | None = Field(description="What `since_epoch` continues with")


class History(RootModel[Mapping[str, Sequence[float | None]]]):
    """Keras's `History.history`: a list for each metric, in the order of the epochs."""


class Checkpoint(BaseModel, from_attributes=True):
    """A checkpoint whose file is on the volume."""

    name: str = Field(description="epoch-<n> or final")
    attempt: int
    epoch: int = Field(description="Epochs that were complete")
    step: int = Field(description="Training steps that were complete")
    bytes: int
    sha256: str = Field(description="Of the file")
    weights_sha256: str = Field(description="Of the model's variables: path, dtype, shape, bytes")
    monitor: str | None
    value: float | None
    is_best: bool
    created_at: datetime


class CheckpointPage(BaseModel):
    """A job's checkpoints, the newest first."""

    object: Literal["list"] = "list"
    data: list[Checkpoint]
    has_more: Literal[False] = False


class Attempt(BaseModel, from_attributes=True):
    """One try at running a job."""

    attempt: int = Field(description="From 1")
    worker: str
    host: str
    started_at: datetime = Field(description="Claimed")
    running_at: datetime | None = Field(description="The job's own code began to run")
    ended_at: datetime | None
    outcome: str | None = Field(description="succeeded, failed, cancelled or released; null while it runs")
    error: JobError | None
    resumed_epoch: int | None = Field(description="The first epoch that it ran; null when it began afresh")


class AttemptPage(BaseModel):
    """A job's attempts, the first one first."""

    object: Literal["list"] = "list"
    data: list[Attempt]
    has_more: Literal[False] = False


class Artifact(BaseModel, from_attributes=True):
    """A file that a job left, other than its checkpoints and its log."""

    name: str
    attempt: int = Field(description="The attempt that wrote it")
    bytes: int
    sha256: str
    content_type: str
    created_at: datetime


class ArtifactPage(BaseModel):
    """A job's artifacts, by name."""

    object: Literal["list"] = "list"
    data: list[Artifact]
    has_more: Literal[False] = False


class Event(BaseModel, from_attributes=True):
    """One thing that happened to a job: state, epoch, checkpoint or cancel_requested."""

    seq: int = Field(description="From 1 in each job, without gaps")
    type: str
    at: datetime
    data: dict[str, Any]


class EventPage(BaseModel):
    """A job's events in order."""

    object: Literal["list"] = "list"
    data: list[Event]
    has_more: bool
    next_after: int = Field(description="What `after` continues with")


class Worker(BaseModel, from_attributes=True):
    """A worker process, as it last said."""

    name: str
    host: str
    pid: int
    lanes: list[str]
    slots: int = Field(description="Jobs at a time, beside one interactive")
    state: str = Field(description="warming, ready or draining")
    free_memory_mb: int
    version: str
    started_at: datetime
    seen_at: datetime


class WorkerPage(BaseModel):
    """The workers that are alive."""

    object: Literal["list"] = "list"
    data: list[Worker]
    has_more: Literal[False] = False


class Queue(BaseModel):
    """One lane now."""

    lane: Lane
    waiting: int = Field(description="Jobs that could start; those waiting out a backoff are not counted")
    running: int


class QueuePage(BaseModel):
    """Every lane."""

    object: Literal["list"] = "list"
    data: list[Queue]
    has_more: Literal[False] = False


class UploadBody(BaseModel, extra="forbid", strict=True):
    """A content that is to be sent, or may be there already."""

    sha256: str = Field(description="SHA-256 of the whole content: 64 digits from 0-9 and a-f")
    bytes: int = Field(ge=1, le=1 << 53, description="Size of the whole content; nothing cannot be sent")
    name: Name | None = Field(None, description="What to show in lists, such as the file's name")

    @field_validator("sha256")
    @classmethod
    def _is_sha256(cls, value: str) -> str:
        if not refs.is_sha256(value):
            raise PydanticCustomError("sha256", "sha256 must be 64 digits from 0-9 and a-f")
        return value


class Upload(BaseModel, from_attributes=True):
    """A content that was sent, or is being sent."""

    object: Literal["upload"] = "upload"
    sha256: str
    ref: str = Field(description="How a job spec names it where a FILE stands, once it is complete")
    bytes: int = Field(description="Size of the whole content")
    offset: int = Field(description="Bytes that are there")
    complete: bool = Field(description="All of it is there and was verified: jobs may use it")
    name: str | None
    created_at: datetime
    seen_at: datetime = Field(description="Last asked for, added to, or named by a job")
    complete_at: datetime | None


class UploadPage(BaseModel):
    """Uploads, the newest first."""

    object: Literal["list"] = "list"
    data: list[Upload]
    has_more: bool
    next_cursor: str | None = Field(description="What `cursor` continues with")


class Export(BaseModel):
    """A worker is about to write a model in a format: ask again."""

    object: Literal["export"] = "export"
    state: State = Field(description="queued or running")
    format: Format
    checkpoint: str = Field(description="As it was asked for")


class CheckAnswer(RootModel[dict[str, Any]]):
    """What a job would need: parameters, memory, disk, shapes."""


class ConvertBody(BaseModel, extra="forbid"):
    """An architecture that any Keras wrote."""

    architecture: dict[str, Any] | str = Field(description="The object, or its text: JSON, YAML, a Python literal")


class Conversion(BaseModel):
    """An architecture in Keras 3's terms."""

    object: Literal["conversion"] = "conversion"
    architecture: dict[str, Any] = Field(description="What a spec's `architecture`, and Keras 3, take")
    changes: list[str] = Field(description="What was changed on the way, a sentence each")


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
