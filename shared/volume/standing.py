"""What rows say of jobs' files: which are named, which are needed, and which attempts may still write.

A file of an attempt that is over, and that no row names and no job is pinned to, is nobody's for ever: rows are
written only by the attempt that runs, for files in its own folder, and a job is pinned only to what a row names.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.states import TERMINAL, State
from shared.tables import artifacts, checkpoints, job_inputs, jobs


@dataclass
class Standing:
    """How a job's files stand."""

    attempt: int
    running: bool
    deleted: bool
    #: Paths of files that rows name, or that a waiting or running job was pinned to.
    needed: set[str] = field(default_factory=set)
    #: Attempts whose checkpoints are needed, and with them the files that these checkpoints tell of.
    resumable: set[int] = field(default_factory=set)

    def is_live(self, attempt: int) -> bool:
        """Whether this attempt may still write."""
        return self.running and attempt >= self.attempt


def of(connection: Connection, job_ids: Collection[str]) -> dict[str, Standing]:
    """Return how the files of those jobs stand that there are.

    The order is a promise: states first, then rows, then pins. Who ends an attempt has written its rows, and who
    pins a file has found its row.
    """
    query = sa.select(jobs.c.id, jobs.c.attempt, jobs.c.state, jobs.c.deleted_at).where(jobs.c.id.in_(job_ids))
    found = {
        row.id: Standing(row.attempt, row.state == State.RUNNING, row.deleted_at is not None)
        for row in connection.execute(query)
    }
    for row in connection.execute(_named(job_ids)):
        # A row may come with its job between two statements.
        if row.job_id in found:
            found[row.job_id].needed.add(row.path)
            found[row.job_id].resumable |= {row.attempt} if row.resumable else set()
    for pin in connection.execute(_pins(job_ids)):
        if pin.source_job_id in found:
            path = pin.source["file"]["path"]
            found[pin.source_job_id].needed.add(path)
            found[pin.source_job_id].resumable.add(attempt_of(path))
    return found


def _named(job_ids: Collection[str]) -> sa.CompoundSelect[tuple[str, int, str, bool]]:
    parts = [
        sa.select(table.c.job_id, table.c.attempt, table.c.path, sa.literal(resumable).label("resumable")).where(
            table.c.job_id.in_(job_ids)
        )
        for table, resumable in ((checkpoints, True), (artifacts, False))
    ]
    return sa.union_all(*parts)


def _pins(job_ids: Collection[str]) -> sa.Select[tuple[str, dict[str, dict[str, str]]]]:
    return (
        sa.select(job_inputs.c.source_job_id, jobs.c.source)
        .join(jobs, jobs.c.id == job_inputs.c.job_id)
        .where(job_inputs.c.source_job_id.in_(job_ids), jobs.c.state.not_in(TERMINAL))
    )


def attempt_of(path: str) -> int:
    """Return the attempt in whose folder a job's file lies."""
    return int(path.split("/")[2])
