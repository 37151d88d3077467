"""What the control loops do to jobs: take expired ones back, and forget internal ones."""

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import attempts, jobs, states
from shared.clock import after, now
from shared.states import Failure, Kind
from shared.tables import jobs as _table


def delete(connection: Connection, job_id: str) -> None:
    """Delete a job's rows (internal jobs only)."""
    connection.execute(sa.delete(_table).where(_table.c.id == job_id, _table.c.kind.in_(states.INTERNAL)))


def prune(connection: Connection, kind: Kind, *, older_than_s: float, most: int = 1000) -> list[str]:
    """Delete the oldest of the ended internal jobs of a kind that are so old; return their ids, whose files may go."""
    assert kind in states.INTERNAL  # noqa: S101 - users' jobs stay
    ended = _table.c.state.in_(states.TERMINAL)
    old = sa.and_(_table.c.kind == kind, ended, _table.c.finished_at < after(-older_than_s))
    oldest = sa.select(_table.c.id).where(old).order_by(_table.c.finished_at).limit(most)
    gone = sa.delete(_table).where(_table.c.id.in_(oldest), old).returning(_table.c.id)
    return list(connection.execute(gone).scalars())


def expire(connection: Connection, *, most: int = 100) -> list[tuple[str, str]]:
    """Take back the jobs whose lease has expired; return (job, lane) of those.

    An attempt in which the job's own code never ran counts no fault: its claim's answer was lost, or
    its worker died before it.
    """
    query = (
        sa.select(_table.c.id, _table.c.attempt, _table.c.lane, _table.c.worker)
        .where(_table.c.state == sa.literal_column("'running'"), _table.c.lease_until < now())
        .order_by(_table.c.lease_until)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = []
    for row in connection.execute(query).all():
        message = f"Worker {row.worker} stopped renewing its lease: the process or its machine is gone."
        if attempts.has_started(connection, row.id, row.attempt):
            jobs.fail(connection, row.id, row.attempt, Failure.WORKER_LOST, message)
        else:
            lost = (Failure.WORKER_LOST, message)
            jobs.requeue(connection, row.id, row.attempt, outcome="failed", error=lost, delay_s=0.0)
        taken.append((row.id, row.lane))
    return taken
