"""How full the lanes are: what waits, and what runs."""

from collections.abc import Collection

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


def running(connection: Connection, *, workers: Collection[str] | None = None) -> dict[str, int]:
    """Return how many jobs of each lane run; on these workers only, when they are named."""
    query = (
        sa.select(jobs.c.lane, sa.func.count().label("jobs")).where(jobs.c.state == State.RUNNING).group_by(jobs.c.lane)
    )
    if workers is not None:
        query = query.where(jobs.c.worker.in_(workers))
    return {row.lane: int(row.jobs) for row in connection.execute(query)}
