"""Rows about attempts: when each began and ended, and what it adds to its job while it runs.

Each caller holds the job's row: it has just claimed the job, or has passed the fence.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.clock import now, seconds
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
    """End the attempt's row, and add its running time to the job's."""
    code, message = error or (None, None)
    row = connection.execute(
        sa.update(_table)
        .where(_table.c.job_id == job_id, _table.c.attempt == attempt)
        .values(ended_at=now(), outcome=outcome, error_code=code, error_message=message)
        .returning(seconds(sa.func.coalesce(_table.c.running_at, _table.c.started_at), now()))
    ).scalar_one()
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(run_s=jobs.c.run_s + max(row, 0.0)))


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


def progressed(connection: Connection, job_id: str) -> None:
    """Note that a new checkpoint is there: the faults in a row begin anew."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(failures=0))


def add_artifact(connection: Connection, job_id: str, attempt: int, **values: Any) -> None:
    """Write the row that makes an artifact exist."""
    connection.execute(sa.delete(artifacts).where(artifacts.c.job_id == job_id, artifacts.c.name == values["name"]))
    connection.execute(sa.insert(artifacts).values(job_id=job_id, attempt=attempt, created_at=now(), **values))
