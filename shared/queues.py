"""How full the lanes are: what waits, and what runs."""

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.clock import after
from shared.states import State
from shared.tables import jobs


def waiting(connection: Connection, *, older_than_s: float) -> dict[str, int]:
    """Return how many jobs of each lane could be claimed, and have waited longer than that."""
    query = (
        sa.select(jobs.c.lane, sa.func.count().label("jobs"))
        .where(
            jobs.c.state == sa.literal_column("'queued'"),
            jobs.c.held.is_(False),
            jobs.c.available_at <= after(-older_than_s),
        )
        .group_by(jobs.c.lane)
    )
    return {row.lane: int(row.jobs) for row in connection.execute(query)}


def running(connection: Connection) -> dict[str, int]:
    """Return how many jobs of each lane run."""
    query = (
        sa.select(jobs.c.lane, sa.func.count().label("jobs")).where(jobs.c.state == State.RUNNING).group_by(jobs.c.lane)
    )
    return {row.lane: int(row.jobs) for row in connection.execute(query)}
