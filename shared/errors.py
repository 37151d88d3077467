"""The errors of fitq, one tree.

FitqError
├── BadRequest       400  the request cannot be read
├── BadSpec          422  the job's description is wrong (also ends a job as bad_spec)
├── BadData          422  the job's data is wrong (also ends a job as bad_data)
├── NaNLoss               the loss became NaN (ends a job)
├── Forbidden        403
├── NotFound         404
├── Conflict         409
├── TooLarge         413
├── Unavailable      503
├── DiskFull         507  the volume has no room for it
├── LeaseLost             the attempt may not write any more
├── CheckpointCorrupt     a checkpoint's file is not what its row says
└── Misconfigured         a process cannot start; the message holds the remedy
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    message: str


class FitqError(Exception):
    """Something went wrong in fitq."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, *, fields: tuple[FieldError, ...] = ()) -> None:
        """Take a sentence that a person can act on; it defaults to the class's docstring."""
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0])
        self.fields = fields

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self.args[0])


class BadRequest(FitqError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400


class BadSpec(FitqError):
    """The job's description is wrong."""

    code = "bad_spec"
    status = 422


class BadData(FitqError):
    """The job's data is wrong."""

    code = "bad_data"
    status = 422


class NaNLoss(FitqError):
    """The loss became NaN."""

    code = "nan_loss"


class Forbidden(FitqError):
    """That is not allowed."""

    code = "forbidden"
    status = 403


class NotFound(FitqError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class Conflict(FitqError):
    """The state of the thing does not allow that."""

    code = "conflict"
    status = 409


class TooLarge(FitqError):
    """The request is too large."""

    code = "too_large"
    status = 413


class Unavailable(FitqError):
    """The service cannot do that now; try again."""

    code = "unavailable"
    status = 503


class DiskFull(FitqError):
    """The volume has no room for it."""

    code = "disk_full"
    status = 507


class LeaseLost(FitqError):
    """Another attempt owns the job now: nothing may be written for this one."""

    code = "lease_lost"


class CheckpointCorrupt(FitqError):
    """The checkpoint's file is missing, truncated or altered."""

    code = "checkpoint_corrupt"


class Misconfigured(FitqError):
    """The process cannot start as it is configured."""

    code = "misconfigured"
