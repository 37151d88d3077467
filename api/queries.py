"""Query and path parameters, validated; a parameter that is not named here is refused."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from shared.formats import Format
from shared.parts import JobId, Name
from shared.states import Kind, Lane, State

#: Numbers that every database takes as an integer.
_EPOCH_MOST = 2**31 - 1
_SEQ_MOST = 2**53

_JOB_ID = re.compile(r"job_[0-9a-f-]{36}")
_UPLOAD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00 [0-9a-f]{64}", re.ASCII)


def encode_cursor(last_id: str) -> str:
    """Return the opaque cursor of the page after `last_id`."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the id in a cursor; raise ValueError when it is none of ours."""
    return _decoded(cursor, _JOB_ID)


def decode_upload(cursor: str) -> str:
    """Return when an upload was asked for first, and its SHA-256; raise ValueError when that is none of ours."""
    text = _decoded(cursor, _UPLOAD)
    try:
        datetime.fromisoformat(text.partition(" ")[0])
    except ValueError:
        raise _no_cursor() from None
    return text


def _decoded(cursor: str, form: re.Pattern[str]) -> str:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not form.fullmatch(text):
        raise _no_cursor()
    return text


def _no_cursor() -> PydanticCustomError:
    return PydanticCustomError("cursor", "is not a cursor that this API gave")


def _tag(value: str) -> str:
    if ":" not in value:
        raise PydanticCustomError("tag", "must be key:value")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "is before the year 1 or after 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]

#: What a list may be narrowed to; `check` jobs are internal.
ListedKind = Literal[Kind.TRAIN, Kind.EVALUATE, Kind.PREDICT]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobPath(_Parameters):
    """One job."""

    job_id: JobId


class CheckpointPath(JobPath):
    """One checkpoint of a job."""

    name: str = Field(description="final, last, best, an epoch from 0, or a checkpoint's name")


class ArtifactPath(JobPath):
    """One artifact of a job."""

    name: str = Field(description="A relative path; it may hold slashes", examples=["predictions.npz"])


class UploadPath(_Parameters):
    """One upload."""

    sha256: str = Field(description="SHA-256 of the whole content", pattern=r"^[0-9a-f]{64}$")


class UploadsQuery(_Parameters):
    """Which page of the uploads."""

    limit: int = Field(50, ge=1, le=100)
    cursor: Annotated[str, AfterValidator(decode_upload)] | None = Field(
        None, description="The next_cursor of the page before"
    )

    @property
    def before(self) -> tuple[datetime, str] | None:
        """The upload that the page before ended with."""
        if self.cursor is None:
            return None
        at, _, sha256 = self.cursor.partition(" ")
        return datetime.fromisoformat(at), sha256


class JobsQuery(_Parameters):
    """Which jobs, and which page of them."""

    state: list[State] | None = Field(None, description="Repeatable: any of these")
    kind: list[ListedKind] | None = Field(None, description="Repeatable: any of these")
    name: Name | None = None
    lane: Lane | None = None
    tag: (
        list[Annotated[str, StringConstraints(max_length=301, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_tag)]]
        | None
    ) = Field(None, description="key:value; repeatable: all of these")
    created_after: Moment | None = Field(None, description="At or after this moment")
    created_before: Moment | None = Field(None, description="Before this moment")
    limit: int = Field(50, ge=1, le=100)
    cursor: Annotated[str, AfterValidator(decode_cursor)] | None = Field(
        None, description="The next_cursor of the page before"
    )

    @property
    def tags(self) -> tuple[tuple[str, str], ...]:
        """The wanted tags; a key holds no colon."""
        parted = (one.partition(":") for one in self.tag or [])
        return tuple((key, value) for key, _, value in parted)


class ModelQuery(_Parameters):
    """Which of a job's models, in which format."""

    format: Format = Field(alias="as", description="The format of the file")
    checkpoint: str = Field(
        "final", pattern=r"^(final|last|best|(epoch-)?[0-9]{1,9})$", description="final, last, best, or an epoch from 0"
    )

    @property
    def epoch(self) -> int | None:
        """The epoch, when it is one that is asked for."""
        number = self.checkpoint.removeprefix("epoch-")
        return int(number) if number.isdigit() else None

    @property
    def wanted(self) -> int | str:
        """The checkpoint as a spec names it."""
        return self.checkpoint if self.epoch is None else self.epoch


class MetricsQuery(_Parameters):
    """Which metrics of a job."""

    names: list[str] | None = Field(None, description="Metrics by name, separated by commas or repeated")
    since_epoch: int = Field(0, ge=0, le=_EPOCH_MOST)
    limit: int = Field(10_000, ge=1, le=10_000, description="Rows, rounded up to whole epochs")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names, split at their commas; empty means all."""
        found = [name for part in self.names or [] for name in part.split(",")]
        return tuple(name for name in found if name and "\0" not in name)


class EventsQuery(_Parameters):
    """Which events of a job."""

    after: int = Field(0, ge=0, le=_SEQ_MOST, description="The last event that is known already")
    limit: int = Field(100, ge=1, le=1000, description="Of a JSON page; a stream has no end of its own")


class LogsQuery(_Parameters):
    """Which part of a job's log."""

    attempt: int | None = Field(None, ge=1, le=_EPOCH_MOST, description="Default: the last attempt")
    tail: int | None = Field(None, ge=0, le=100_000, description="Only so many last lines")
    offset: int = Field(0, ge=0, le=_SEQ_MOST, description="Bytes of the attempt's log that are known already")
    follow: bool = Field(False, description="Go on as it grows, attempt after attempt, to the job's end")

    @field_validator("offset")
    @classmethod
    def _says_of_what(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("attempt") is None:
            raise PydanticCustomError("offset", "counts the bytes of one attempt's log: name the attempt, too")
        if value and info.data.get("tail") is not None:
            raise PydanticCustomError("offset", "is one way to say where to begin, tail another: use one")
        return value
