"""Epoch metrics: written once per epoch, read as rows or as Keras's History dictionary."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import db
from shared.clock import now
from shared.states import ValueKind
from shared.tables import epoch_metrics

#: Metrics of one epoch, at most: a model with more has lost its way.
NAMES_PER_EPOCH = 256


@dataclass(frozen=True)
class Metric:
    """One metric of one epoch. `value` is None when it was not finite: `value_kind` says what it was."""

    epoch: int
    name: str
    value: float | None
    value_kind: ValueKind
    attempt: int
    recorded_at: datetime


def number(value: float | None, kind: str) -> float:
    """Return the number that a row stands for."""
    return value if value is not None else float(kind)


def record(connection: Connection, job_id: str, attempt: int, epoch: int, values: Mapping[str, float]) -> None:
    """Write one epoch's metrics; writing the same epoch again replaces it. The caller holds the fence."""
    rows = [
        {
            "job_id": job_id,
            "attempt": attempt,
            "epoch": epoch,
            "name": name,
            "value": value if math.isfinite(value) else None,
            "value_kind": ValueKind.of(value),
        }
        for name, value in list(values.items())[:NAMES_PER_EPOCH]
    ]
    if not rows:
        return
    insert = db.dialect_insert(connection, epoch_metrics).values(recorded_at=now())
    replaced = {name: insert.excluded[name] for name in ("value", "value_kind", "attempt", "recorded_at")}
    key = [column.name for column in epoch_metrics.primary_key]
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=replaced), rows)


def delete_from(connection: Connection, job_id: str, epoch: int) -> None:
    """Forget the epochs at or after `epoch`: an attempt computes them again."""
    connection.execute(sa.delete(epoch_metrics).where(epoch_metrics.c.job_id == job_id, epoch_metrics.c.epoch >= epoch))


def page(
    connection: Connection, job_id: str, *, names: tuple[str, ...] = (), since_epoch: int = 0, limit: int = 10_000
) -> list[Metric]:
    """Return a job's metrics by epoch and name."""
    table = epoch_metrics
    query = (
        sa.select(table.c.epoch, table.c.name, table.c.value, table.c.value_kind, table.c.attempt, table.c.recorded_at)
        .where(table.c.job_id == job_id, table.c.epoch >= since_epoch)
        .order_by(table.c.epoch, table.c.name)
        .limit(limit)
    )
    if names:
        query = query.where(table.c.name.in_(names))
    return [Metric(**{**row._mapping, "value_kind": ValueKind(row.value_kind)}) for row in connection.execute(query)]


def history(connection: Connection, job_id: str) -> dict[str, list[float]]:
    """Return what Keras's `History.history` holds: a list for each name, in the order of the epochs."""
    table = epoch_metrics
    query = sa.select(table.c.name, table.c.value, table.c.value_kind).where(table.c.job_id == job_id)
    lists: dict[str, list[float]] = {}
    for name, value, kind in connection.execute(query.order_by(table.c.epoch, table.c.name)):
        lists.setdefault(name, []).append(number(value, kind))
    return lists
