"""The exit codes of the `fitq` command."""

from fitq import errors

OK = 0
ERROR = 1
USAGE = 2
JOB_FAILED = 3
JOB_CANCELLED = 4
WAIT_TIMED_OUT = 124
INTERRUPTED = 130


def code(error: errors.FitqError) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, errors.JobFailed):
        return JOB_FAILED
    if isinstance(error, errors.JobCancelled):
        return JOB_CANCELLED
    return WAIT_TIMED_OUT if isinstance(error, errors.WaitTimeout) else ERROR


def of_state(state: str) -> int:
    """Return the exit code for a job that has ended."""
    return {"failed": JOB_FAILED, "cancelled": JOB_CANCELLED}.get(state, OK)
