"""Following one job: a small query while nothing changes."""

import time

from api.context import Context
from shared import db, listing
from shared.listing import Job
from shared.states import TERMINAL

#: The pause between two looks grows from the first to the longest, seconds.
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.25


class Watch:
    """Reads a job again only when its version has grown."""

    def __init__(self, context: Context, job_id: str) -> None:
        """Know nothing of the job yet."""
        self._context = context
        self._job_id = job_id
        self.job: Job | None = None

    def look(self) -> bool:
        """Read the job if it has changed; return whether it had. Raise `NotFound` when there is none (any more)."""
        with db.read(self._context.engine) as connection:
            if self.job is not None and listing.version(connection, self._job_id) == self.job.version:
                return False
            self.job = listing.get(connection, self._job_id)
        return True

    def until_ended(self, seconds: float) -> Job | None:
        """Wait at most so long for the job's end; return the job as it was seen last, or None before a look."""
        deadline = time.monotonic() + seconds
        pause = FIRST_PAUSE_S
        while True:
            self.look()
            left = deadline - time.monotonic()
            if self.ended or left <= 0 or self._context.stopping.wait(min(pause, left)):
                return self.job
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    @property
    def ended(self) -> bool:
        """Whether the job was in a terminal state at the last look."""
        return self.job is not None and self.job.state in TERMINAL
