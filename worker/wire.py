"""The messages between a supervisor and its runner: JSON, size-capped, never a pickle.

The runner executes what users describe, so its supervisor (which holds the credentials) trusts
nothing that it says: an unknown or oversized message ends the attempt.
"""

import json
import os
import struct
from dataclasses import asdict, dataclass, field, fields
from multiprocessing.connection import Connection
from typing import Annotated, Any

from annotated_types import MaxLen
from pydantic import Field, TypeAdapter, ValidationError

from shared.states import Failure
from shared.store import StoredFile

#: Bytes of a result (it may carry predictions inline), and of any other message, at most.
RESULT_BYTES = 16 << 20
MESSAGE_BYTES = 256 << 10
#: Bytes that one look takes from the pipe, at most.
_READ_BYTES = 1 << 18
#: How `multiprocessing.Connection` begins each message: its length, in network order.
_LENGTH = struct.Struct("!i")

Name = Annotated[str, MaxLen(200)]
Sentence = Annotated[str, MaxLen(4000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Metrics = Annotated[dict[Name, float], MaxLen(256)]


class WireError(Exception):
    """What came over the pipe is no message."""


# --- supervisor → runner ---


@dataclass(frozen=True)
class Resumable:
    """A checkpoint that an attempt may resume from."""

    name: str
    epoch: int
    step: int
    file: StoredFile
    #: Another job's, whose training this one goes on with.
    inherited: bool = False


@dataclass(frozen=True)
class Assignment:
    """All that a runner needs to know; it has no database and no credentials."""

    job_id: str
    attempt: int
    kind: str
    spec: dict[str, Any]
    #: The source model, pinned at submit (`shared.lineage.Source` as a dictionary), or None.
    source: dict[str, Any] | None
    seed: int
    #: The job's own checkpoints, the newest first.
    checkpoints: tuple[Resumable, ...]
    #: What fixes the last bits, chosen by the job's first attempt; None on that one.
    numerics: dict[str, Any] | None
    volume: str
    #: Threads that TensorFlow may use in one operation.
    threads: int
    #: Folder that `keras.datasets` reads from, or None for Keras's own.
    datasets: str | None
    dataset_timeout_s: float
    site_packages: tuple[str, ...] = ()
    #: Bytes that all jobs and uploads together may leave on the volume, None for no limit; and those they take now.
    volume_max_bytes: int | None = None
    volume_used_bytes: int = 0
    #: What sentences call the job's uploads, by their references.
    called: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """Ask the runner to end: `after_epoch` at the end of the epoch, `release` after this step. Both checkpoint."""

    mode: str


@dataclass(frozen=True)
class Save:
    """Ask the runner for a checkpoint after this step; it goes on then."""


# --- runner → supervisor ---


@dataclass(frozen=True)
class Started:
    """The job's own code runs."""

    numerics: dict[str, Any]


@dataclass(frozen=True)
class Resumed:
    """From which epoch and step the attempt goes on; epoch metrics from there on are void."""

    epoch: Count
    step: Count
    #: Why newer checkpoints were passed over, one sentence each.
    skipped: Annotated[tuple[Sentence, ...], MaxLen(10_000)] = ()


@dataclass(frozen=True)
class Progress:
    """How far it is. Only the newest one counts. Also the sign of life that the stall limit watches."""

    phase: Name
    epoch: Count = 0
    epochs: Count = 0
    step: Count = 0
    steps: Count = 0
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One epoch is complete; `metrics` are Keras's logs, not finite values included."""

    epoch: Annotated[int, Field(ge=0, lt=2**31)]
    metrics: Metrics


@dataclass(frozen=True)
class Checkpointed:
    """A checkpoint's file is whole on the volume; a row will make it exist."""

    name: Annotated[str, MaxLen(64)]
    #: Epochs and steps that are complete in it.
    epoch: Annotated[int, Field(ge=0, lt=2**31)]
    step: Count
    file: StoredFile
    weights_sha256: Annotated[str, MaxLen(64)]
    monitor: Name | None = None
    value: float | None = None
    #: Whether a greater `value` is better.
    greater_is_better: bool = False


@dataclass(frozen=True)
class Artifact:
    """Another file that the job leaves is whole on the volume."""

    name: Name
    content_type: Annotated[str, MaxLen(100)]
    file: StoredFile


@dataclass(frozen=True)
class Finished:
    """The job is done; `value` is its result."""

    value: dict[str, Any]
    weights_sha256: Annotated[str, MaxLen(64)] | None = None
    final_checkpoint: Annotated[str, MaxLen(64)] | None = None


@dataclass(frozen=True)
class Stopped:
    """The runner ended because it was asked to, in this mode; what was to be saved is saved."""

    mode: Name


@dataclass(frozen=True)
class Failed:
    """The job failed in a way that the runner could tell."""

    code: Failure
    message: Sentence


Message = Stop | Save | Started | Resumed | Progress | Epoch | Checkpointed | Artifact | Finished | Stopped | Failed
_TYPES: dict[str, tuple[TypeAdapter[Message], frozenset[str]]] = {
    kind.__name__: (TypeAdapter(kind), frozenset(one.name for one in fields(kind)))
    for kind in (Stop, Save, Started, Resumed, Progress, Epoch, Checkpointed, Artifact, Finished, Stopped, Failed)
}


def encode(message: Message) -> bytes:
    """Return a message as bytes; NaN and the infinities are kept."""
    return json.dumps([type(message).__name__, asdict(message)], separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Return the message in `data`, every field of its type and size; raise `WireError` when there is none."""
    try:
        name, values = json.loads(data)
        kind, known = _TYPES[name]
        if unknown := set(values) - known:
            raise WireError(f"{name} has no field {str(min(unknown))[:100]!r}")
        return kind.validate_python(_storable(values))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))[:100]
        raise WireError(f"{name}.{place}: {wrong['msg'][:200]}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WireError(f"no message: {data[:80]!r}") from error


def _storable(value: Any) -> Any:
    """Return a JSON value without what no database takes in a text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return value


def send(connection: Connection, message: Message) -> None:
    """Send a message; block while the other side is behind."""
    connection.send_bytes(encode(message))


def receive(connection: Connection) -> Message:
    """Wait for a message of the supervisor. Raise EOFError when it is gone, `WireError` when it is none."""
    try:
        return decode(connection.recv_bytes(MESSAGE_BYTES))
    except OSError as error:
        raise EOFError(str(error)) from error


class Inbox:
    """What a runner has sent so far. Never waits: a runner that stops in mid-message keeps nobody."""

    def __init__(self, connection: Connection) -> None:
        """Read from `connection`, which nobody else reads."""
        self._connection = connection
        self._buffer = bytearray()

    def read(self) -> list[tuple[Message, int]]:
        """Take what is there, when the pipe is ready; return the messages that are complete, with their bytes.

        Raise EOFError when the runner is gone and all is read, `WireError` for what is no message.
        """
        try:
            data = os.read(self._connection.fileno(), _READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        self._buffer += data
        found = []
        while (body := self._next()) is not None:
            found.append((decode(body), len(body)))
        return found

    def _next(self) -> bytes | None:
        """Return the next complete message's bytes, or None."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        begun = bytes(self._buffer[_LENGTH.size : _LENGTH.size + 12])
        most = RESULT_BYTES if b'["Finished",'.startswith(begun) else MESSAGE_BYTES
        if not 0 <= length <= most:
            raise WireError(f"a message of {length} bytes; {most} are allowed")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body
