"""The reaper: gives jobs whose lease has expired back to their lanes.

It takes nothing away in the first lease's time after its own start, after an outage of the
database, or after it was late itself (a laptop that slept): the workers may have been away for the
same reason, and get one lease's time to say that they are there.
"""

import time

from sqlalchemy import Engine

from shared import db, log, queues, upkeep
from shared.broker import Bell

_log = log.get(__name__)


def boot_clock() -> float:
    """Return seconds that go on while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Reaper:
    """Reaps in rounds; `grace` is due to the workers whenever a round did not come in time."""

    def __init__(self, engine: Engine, bell: Bell, *, lease_s: float, every_s: float) -> None:
        """Reap every `every_s` seconds by the caller's count."""
        self._engine = engine
        self._bell = bell
        self._lease_s = lease_s
        self._late_s = every_s + max(lease_s / 3, 1.0)
        self._last: float | None = None
        self._not_before = 0.0

    def round(self) -> list[tuple[str, str]]:
        """Take back the expired jobs; return (job, lane) of them. An error leaves its grace behind."""
        now = boot_clock()
        if self._last is None or now - self._last > self._late_s:
            self._not_before = now + self._lease_s
        if now < self._not_before:
            # The database must answer now, or the workers cannot renew either.
            with db.read(self._engine) as connection:
                queues.running(connection)
            self._last = now
            return []
        with db.write(self._engine) as connection:
            taken = upkeep.expire(connection)
        self._last = now
        for job_id, lane in taken:
            _log.warning("lease expired: the job goes back", job_id=job_id)
            self._bell.ring(lane)
        return taken

    def forgive(self) -> None:
        """Take it that the round failed: grant a lease's time from the next one that succeeds."""
        self._last = None
