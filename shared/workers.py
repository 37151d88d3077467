"""Rows about workers: who is there, what it serves, when it was last seen."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import db
from shared.clock import after, now
from shared.tables import workers


@dataclass(frozen=True)
class Worker:
    """A worker process, as it last said."""

    name: str
    host: str
    pid: int
    lanes: list[str]
    slots: int
    #: warming, ready, draining or gone
    state: str
    free_memory_mb: int
    version: str
    started_at: datetime
    seen_at: datetime


_COLUMNS = [workers.c[name] for name in Worker.__dataclass_fields__]


def beat(connection: Connection, name: str, **values: object) -> None:
    """Say that a worker is there; `values` are the columns that the worker itself knows."""
    insert = db.dialect_insert(connection, workers).values(name=name, started_at=now(), seen_at=now(), **values)
    replaced = {key: insert.excluded[key] for key in (*values, "seen_at")}
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=replaced))


def leave(connection: Connection, name: str) -> None:
    """Say that a worker has ended in order."""
    connection.execute(sa.update(workers).where(workers.c.name == name).values(state="gone", seen_at=now()))


def alive(connection: Connection, *, within_s: float) -> list[Worker]:
    """Return the workers that were seen in the last `within_s` seconds and have not left."""
    query = sa.select(*_COLUMNS).where(workers.c.seen_at > after(-within_s), workers.c.state != "gone")
    return [Worker(**row._mapping) for row in connection.execute(query.order_by(workers.c.name))]


def forget(connection: Connection, *, after_s: float) -> int:
    """Delete the rows of workers unseen for `after_s` seconds; return how many."""
    return connection.execute(sa.delete(workers).where(workers.c.seen_at < after(-after_s))).rowcount
