"""What happened to a job, in order: the sequence behind `Last-Event-ID`.

Every writer holds the job's row when it appends, so that numbers are given in the order of the
commits: a reader that has seen number n has seen all below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.clock import now
from shared.tables import job_events, jobs


@dataclass(frozen=True)
class Event:
    """One thing that happened: `state`, `epoch` or `checkpoint`, and what belongs to it."""

    seq: int
    type: str
    data: dict[str, Any]
    at: datetime


def append(connection: Connection, job_id: str, events: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Append (type, data) pairs to a job's events. The caller's transaction has written the job's row."""
    if not events:
        return
    counted = (
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(event_seq=jobs.c.event_seq + len(events))
        .returning(jobs.c.event_seq)
    )
    last = connection.execute(counted).scalar_one()
    first = last - len(events) + 1
    rows = [
        {"job_id": job_id, "seq": first + index, "type": kind, "data": data}
        for index, (kind, data) in enumerate(events)
    ]
    connection.execute(sa.insert(job_events).values(at=now()), rows)


def page(connection: Connection, job_id: str, *, after: int = 0, limit: int = 100) -> list[Event]:
    """Return a job's events with numbers above `after`, the first `limit` of them."""
    query = (
        sa.select(job_events.c.seq, job_events.c.type, job_events.c.data, job_events.c.at)
        .where(job_events.c.job_id == job_id, job_events.c.seq > after)
        .order_by(job_events.c.seq)
        .limit(limit)
    )
    return [Event(**row._mapping) for row in connection.execute(query)]
