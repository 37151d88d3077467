"""The errors of the client, one tree.

FitqError
├── Misconfigured    FITQ_URL or an argument is wrong
├── CannotTravel     something of the caller's cannot be sent to a worker (also a ValueError)
├── BadSpecFile      a file holds no readable job
├── NoServer         no server answers, or what answers is no fitq server
├── Problem          the server refused (an RFC 9457 problem)
│   ├── Invalid      400, 413, 422: the request is wrong; `fields` says where
│   ├── Denied       401, 403
│   ├── NotFound     404
│   ├── Conflict     409: the state of the job does not allow that
│   └── Unavailable  429, 502, 503, 504: later it may
├── AmbiguousId      a shortened id means several jobs
├── BadUpload        a file cannot be read, or changed while it was sent
├── BadDownload      a file arrived otherwise than it left
├── WaitTimeout      the wait was over before the job was (also a TimeoutError)
├── JobFailed        the job ended as failed
└── JobCancelled     the job ended as cancelled
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldProblem:
    """One wrong field of a request: where (a JSON pointer, RFC 6901, or a parameter's name) and what."""

    pointer: str
    detail: str


class FitqError(Exception):
    """Something went wrong between you and fitq."""

    def __init__(self, message: str | None = None) -> None:
        """Take a sentence that a person can act on; it defaults to the class's docstring."""
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0])


class Misconfigured(FitqError):
    """The client is not configured rightly."""


class CannotTravel(FitqError, ValueError):
    """A worker cannot have what was given."""


class BadSpecFile(FitqError):
    """The file holds no job that can be read."""


class NoServer(FitqError):
    """No fitq server answers."""


class Problem(FitqError):
    """The server refused the request."""

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int = 0,
        code: str | None = None,
        fields: tuple[FieldProblem, ...] = (),
        request_id: str | None = None,
    ) -> None:
        """Take the sentence and what the server's problem says beside it."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.fields = fields
        self.request_id = request_id


class Invalid(Problem):
    """The request is wrong."""


class Denied(Problem):
    """The server does not let you: check FITQ_API_KEY."""


class NotFound(Problem):
    """There is no such thing."""


class Conflict(Problem):
    """The state of the job does not allow that."""


class Unavailable(Problem):
    """The server cannot do that now; try again."""


_BY_STATUS: dict[int, type[Problem]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def problem_class(status: int) -> type[Problem]:
    """Return the class of the error that an HTTP status stands for."""
    return _BY_STATUS.get(status, Problem)


class AmbiguousId(FitqError):
    """A shortened id means several jobs."""


class BadUpload(FitqError):
    """The file cannot be sent."""


class BadDownload(FitqError):
    """The file that arrived is not the one that the server has."""


class WaitTimeout(FitqError, TimeoutError):
    """The wait was over before the job was; the job goes on."""


class JobFailed(FitqError):
    """The job failed."""


class JobCancelled(FitqError):
    """The job was cancelled."""
