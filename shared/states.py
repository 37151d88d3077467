"""The words of a job's life: kinds, states, failure classes. Pure."""

import math
from enum import StrEnum


class Kind(StrEnum):
    """What a job does. `check` and `export` are internal: they answer requests of the API and are never listed."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    PREDICT = "predict"
    #: Answers `POST /v1/jobs:check`.
    CHECK = "check"
    #: Answers `GET /v1/jobs/{id}/model`.
    EXPORT = "export"


#: Kinds that users neither submit nor see.
INTERNAL = frozenset({Kind.CHECK, Kind.EXPORT})


class Lane(StrEnum):
    """Where a job waits."""

    CPU = "cpu"
    GPU = "gpu"
    #: Short jobs that someone waits for. A worker keeps one slot of its own for them.
    INTERACTIVE = "interactive"


class State(StrEnum):
    """The states of a job. Only `shared/jobs.py` changes them."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States that a job leaves only by an explicit `retry`; `succeeded` is final.
TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

#: Every legal change of state. `running → queued` is a lost lease, a machine's fault, a pause or a shutdown.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, *TERMINAL}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}


class CancelMode(StrEnum):
    """How a running job is asked to end."""

    #: Finish the epoch (or the batch, outside training) and keep its checkpoint.
    AFTER_EPOCH = "after_epoch"
    #: Kill the runner at once.
    NOW = "now"


class Failure(StrEnum):
    """Why a job failed: the failure classes that stand in SQL."""

    BAD_SPEC = "bad_spec"
    BAD_DATA = "bad_data"
    NAN_LOSS = "nan_loss"
    OOM_HOST = "oom_host"
    OOM_GPU = "oom_gpu"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    CRASHED = "crashed"
    WORKER_LOST = "worker_lost"
    DISK_FULL = "disk_full"
    DISK_LIMIT = "disk_limit"
    INTERNAL = "internal"


#: The machine's faults: retried from the last checkpoint. The others are the user's and never are.
RETRYABLE = frozenset({Failure.STALLED, Failure.CRASHED, Failure.WORKER_LOST, Failure.DISK_FULL, Failure.INTERNAL})

#: Backoff before the second and later retries in a row, seconds; the first retry is at once.
BACKOFF_FIRST_S = 10.0
BACKOFF_MOST_S = 600.0


def backoff_s(failures: int) -> float:
    """Return the seconds to wait after `failures` machine faults in a row (1 is the first)."""
    if failures <= 1:
        return 0.0
    return min(BACKOFF_FIRST_S * 2.0 ** (failures - 2), BACKOFF_MOST_S)


class ValueKind(StrEnum):
    """What a metric's value was: NaN and the infinities are facts, kept beside a NULL value."""

    FINITE = "finite"
    NAN = "nan"
    POSITIVE_INFINITY = "+inf"
    NEGATIVE_INFINITY = "-inf"

    @classmethod
    def of(cls, value: float) -> "ValueKind":
        """Tell a finite value from NaN and the infinities."""
        if math.isnan(value):
            return cls.NAN
        if math.isinf(value):
            return cls.POSITIVE_INFINITY if value > 0 else cls.NEGATIVE_INFINITY
        return cls.FINITE
