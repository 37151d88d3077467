"""The exit codes of the `fitq` command."""

from collections.abc import Iterable

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


def of_states(states: Iterable[str]) -> int:
    """Return the exit code for jobs that have ended: a failed one weighs more than a cancelled one."""
    found = set(states)
    if "failed" in found:
        return JOB_FAILED
    return JOB_CANCELLED if "cancelled" in found else OK
