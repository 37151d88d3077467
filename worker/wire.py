"""The messages between a supervisor and its runner: JSON, size-capped, never a pickle.

The runner executes what users describe, so its supervisor (which holds the credentials) trusts
nothing that it says: an unknown or oversized message ends the attempt.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from multiprocessing.connection import Connection
from typing import Any

from shared.store import StoredFile

#: Bytes of one message, at most: a result with inline predictions is the largest.
MESSAGE_BYTES = 16 << 20


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


@dataclass(frozen=True)
class Stop:
    """Ask the runner to end: `after_epoch` at the end of the epoch, `release` after this step. Both checkpoint."""

    mode: str


# --- runner → supervisor ---


@dataclass(frozen=True)
class Started:
    """The job's own code runs."""

    numerics: dict[str, Any]


@dataclass(frozen=True)
class Resumed:
    """From which epoch and step the attempt goes on; epoch metrics from there on are void."""

    epoch: int
    step: int
    #: Why newer checkpoints were passed over, one sentence each.
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far it is. Only the newest one counts. Also the sign of life that the stall limit watches."""

    phase: str
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One epoch is complete; `metrics` are Keras's logs, not finite values included."""

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Checkpointed:
    """A checkpoint's file is whole on the volume; a row will make it exist."""

    name: str
    #: Epochs and steps that are complete in it.
    epoch: int
    step: int
    file: StoredFile
    weights_sha256: str
    monitor: str | None = None
    value: float | None = None
    #: Whether a greater `value` is better.
    greater_is_better: bool = False


@dataclass(frozen=True)
class Artifact:
    """Another file that the job leaves is whole on the volume."""

    name: str
    content_type: str
    file: StoredFile


@dataclass(frozen=True)
class Finished:
    """The job is done; `value` is its result."""

    value: dict[str, Any]
    weights_sha256: str | None = None
    final_checkpoint: str | None = None


@dataclass(frozen=True)
class Stopped:
    """The runner ended because it was asked to, in this mode; what was to be saved is saved."""

    mode: str


@dataclass(frozen=True)
class Failed:
    """The job failed in a way that the runner could tell; `code` is a `shared.states.Failure`."""

    code: str
    message: str


Message = Stop | Started | Resumed | Progress | Epoch | Checkpointed | Artifact | Finished | Stopped | Failed
_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Stop, Started, Resumed, Progress, Epoch, Checkpointed, Artifact, Finished, Stopped, Failed)
}


def encode(message: Message) -> bytes:
    """Return a message as bytes; NaN and the infinities are kept."""
    return json.dumps([type(message).__name__, asdict(message)], separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Return the message in `data`; raise `WireError` when there is none."""
    try:
        name, values = json.loads(data)
        kind = _TYPES[name]
        if unknown := set(values) - {f.name for f in fields(kind)}:
            raise WireError(f"unknown fields {sorted(unknown)} in {name}")
        if "file" in values:
            values["file"] = StoredFile(**values["file"])
        message: Message = kind(**values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WireError(f"no message: {data[:80]!r}") from error
    return message


def send(connection: Connection, message: Message) -> None:
    """Send a message; block while the other side is behind."""
    connection.send_bytes(encode(message))


def receive(connection: Connection) -> Message:
    """Wait for a message. Raise EOFError when the other side is gone, `WireError` when it is none."""
    try:
        return decode(connection.recv_bytes(MESSAGE_BYTES))
    except OSError as error:
        # `recv_bytes` reports a message over the cap as an OSError, and closes the pipe.
        raise EOFError(str(error)) from error
