"""Rows about attempts: when each began and ended, and what it adds to its job while it runs.

Each caller holds the job's row: it has just claimed the job, or has passed the fence.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.clock import earlier, now, seconds
from shared.states import Failure
from shared.tables import artifacts, jobs
from shared.tables import attempts as _table


def begin(connection: Connection, job_id: str, attempt: int, *, worker: str, host: str) -> None:
    """Open the attempt's row."""
    row = {"job_id": job_id, "attempt": attempt, "worker": worker, "host": host}
    connection.execute(sa.insert(_table).values(**row, started_at=now()))


def close(
    connection: Connection, job_id: str, attempt: int, *, outcome: str, error: tuple[Failure, str] | None
) -> None:
    """End the attempt's row, and add its running time to the job's.

    It ended when it says so, or when its lease did: while a machine is off, nothing runs.
    """
    code, message = error or (None, None)
    lease = sa.select(jobs.c.lease_until).where(jobs.c.id == job_id).scalar_subquery()
    ended = earlier(now(), sa.func.coalesce(lease, now()))
    ran = connection.execute(
        sa.update(_table)
        .where(_table.c.job_id == job_id, _table.c.attempt == attempt)
        .values(ended_at=ended, outcome=outcome, error_code=code, error_message=message)
        .returning(seconds(sa.func.coalesce(_table.c.running_at, _table.c.started_at), _table.c.ended_at))
    ).scalar_one_or_none()
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(run_s=jobs.c.run_s + max(ran or 0.0, 0.0)))


def has_started(connection: Connection, job_id: str, attempt: int) -> bool:
    """Whether the job's own code ran in this attempt."""
    query = sa.select(_table.c.running_at).where(_table.c.job_id == job_id, _table.c.attempt == attempt)
    return connection.execute(query).scalar_one_or_none() is not None


def started(connection: Connection, job_id: str, attempt: int, numerics: dict[str, Any]) -> None:
    """Note that the job's own code runs; its first attempt fixes the numerics for all."""
    connection.execute(
        sa.update(_table).where(_table.c.job_id == job_id, _table.c.attempt == attempt).values(running_at=now())
    )
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id, jobs.c.numerics.is_(None)).values(numerics=numerics))


def resumed(connection: Connection, job_id: str, attempt: int, epoch: int) -> None:
    """Write down from which epoch the attempt goes on."""
    connection.execute(
        sa.update(_table).where(_table.c.job_id == job_id, _table.c.attempt == attempt).values(resumed_epoch=epoch)
    )


def progressed(connection: Connection, job_id: str, step: int) -> None:
    """Note a checkpoint: when the job was never so far before, the faults in a row begin anew."""
    further = sa.and_(jobs.c.id == job_id, jobs.c.furthest_step < step)
    connection.execute(sa.update(jobs).where(further).values(failures=0, furthest_step=step))


def add_artifact(connection: Connection, job_id: str, attempt: int, **values: Any) -> list[str]:
    """Write the row that makes an artifact exist; return the path of the file that it was before, if another."""
    named = sa.and_(artifacts.c.job_id == job_id, artifacts.c.name == values["name"])
    before = connection.execute(sa.delete(artifacts).where(named).returning(artifacts.c.path)).scalars().all()
    connection.execute(sa.insert(artifacts).values(job_id=job_id, attempt=attempt, created_at=now(), **values))
    return [path for path in before if path != values["path"]]
