"""Rows about checkpoints: which exist, which is best, which may go. Files belong to `shared/store.py`."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import db
from shared.clock import now
from shared.states import TERMINAL
from shared.store import StoredFile
from shared.tables import artifacts, checkpoints, job_inputs, jobs, results

_table = checkpoints


@dataclass(frozen=True)
class Saved:
    """A checkpoint whose row exists."""

    name: str
    attempt: int
    epoch: int
    step: int
    path: str
    bytes: int
    sha256: str
    weights_sha256: str
    monitor: str | None
    value: float | None
    is_best: bool
    created_at: datetime

    @property
    def file(self) -> StoredFile:
        """The file that the row describes."""
        return StoredFile(self.path, self.bytes, self.sha256)


_COLUMNS = [_table.c[name] for name in Saved.__dataclass_fields__]


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the best by the monitored metric, and the newest."""

    keep_best: int = 1
    keep_last: int = 2
    #: Bytes that the job may leave, checkpoints and artifacts together; fewer checkpoints are kept where it must be.
    most_bytes: int | None = None


def listed(connection: Connection, job_id: str) -> list[Saved]:
    """Return a job's checkpoints, the newest first: of those at one step, `final`, then that of the whole epoch."""
    newest = (_table.c.step.desc(), _table.c.epoch.desc(), (_table.c.name == "final").desc(), _table.c.name.desc())
    query = sa.select(*_COLUMNS).where(_table.c.job_id == job_id).order_by(*newest)
    return [Saved(**row._mapping) for row in connection.execute(query)]


def find(connection: Connection, job_id: str, wanted: int | str) -> Saved | None:
    """Return `final`, `last`, `best`, an epoch's (from 0), or the one of that name."""
    saved = listed(connection, job_id)
    if wanted == "final":
        final = sa.select(results.c.final_checkpoint).where(results.c.job_id == job_id)
        wanted = connection.execute(final).scalar_one_or_none() or ""
    if wanted == "last":
        return next((one for one in saved if one.name.startswith("epoch-")), None)
    if wanted == "best":
        return next((one for one in saved if one.is_best), None)
    name = f"epoch-{wanted}" if isinstance(wanted, int) else wanted
    return next((one for one in saved if one.name == name), None)


def record(
    connection: Connection, job_id: str, attempt: int, values: dict[str, Any], *, greater: bool, keep: Retention
) -> list[str]:
    """Write one checkpoint's row, choose the best anew, and drop the rows that need not stay.

    Return the paths of the files that no row names any more; remove them after the commit. The
    caller holds the fence.
    """
    value = values.get("value")
    finite = value if value is not None and math.isfinite(value) else None
    row = {**values, "job_id": job_id, "attempt": attempt, "value": finite, "is_best": False}
    before = connection.execute(
        sa.select(_table.c.path, _table.c.sha256).where(_table.c.job_id == job_id, _table.c.name == row["name"])
    ).one_or_none()
    pinned = _pinned(connection, job_id)
    insert = db.dialect_insert(connection, _table).values(**row, created_at=now())
    replaced = {c.name: insert.excluded[c.name] for c in _table.c if not c.primary_key}
    connection.execute(insert.on_conflict_do_update(index_elements=["job_id", "name"], set_=replaced))
    replaced_file = before is not None and before.path != row["path"] and before.sha256 not in pinned
    stale = [before.path] if before is not None and replaced_file else []
    return stale + _retain(connection, job_id, pinned, greater=greater, keep=keep)


def _retain(connection: Connection, job_id: str, pinned: set[str], *, greater: bool, keep: Retention) -> list[str]:
    """Mark the best and delete the rows that retention does not keep; return their files' paths."""
    saved = listed(connection, job_id)
    ranked = sorted(
        (one for one in saved if one.value is not None and one.name.startswith("epoch-")),
        # The earlier epoch wins a tie, as in Keras's callbacks.
        key=lambda one: (-(one.value or 0.0) if greater else (one.value or 0.0), one.epoch),
    )
    epochs = [one for one in saved if one.name.startswith("epoch-")]
    stay = {*ranked[: keep.keep_best], *epochs[: keep.keep_last], *_newest(saved, keep)}
    connection.execute(
        sa.update(_table)
        .where(_table.c.job_id == job_id)
        .values(is_best=_table.c.name == (ranked[0].name if ranked else ""))
    )
    gone = [one for one in saved if one not in stay and one.name != "final" and one.sha256 not in pinned]
    _forget(connection, job_id, gone)
    return [one.path for one in gone]


def _newest(saved: list[Saved], keep: Retention) -> list[Saved]:
    """Return where the next attempt goes on: the newest of any name, and the one before, should that be damaged."""
    one_is_enough = keep.keep_last == 1 and saved[0].name.startswith("epoch-")
    return saved[:1] if one_is_enough else saved[:2]


def fit(connection: Connection, job_id: str, most_bytes: int) -> tuple[list[str], int]:
    """Drop rows, the oldest first and the best one last, until a job's checkpoints and artifacts take so much.

    The newest checkpoint stays, and `final`, and what a waiting or running job was pinned to. Return the paths of the
    files that no row names any more, and the bytes that cannot be dropped; pins, which others made, do not count there.
    """
    saved = listed(connection, job_id)
    pinned = _pinned(connection, job_id)
    artifact_bytes = _artifact_bytes(connection, job_id)
    stay = [one for index, one in enumerate(saved) if index == 0 or one.name == "final"]
    movable = [one for one in saved if one not in stay and one.sha256 not in pinned]
    movable.sort(key=lambda one: (one.is_best, one.step, one.epoch))
    held = artifact_bytes + sum(one.bytes for one in saved)
    gone = []
    for one in movable:
        if held <= most_bytes:
            break
        held -= one.bytes
        gone.append(one)
    _forget(connection, job_id, gone)
    return [one.path for one in gone], artifact_bytes + sum(one.bytes for one in stay)


def thin(connection: Connection, job_id: str) -> list[str]:
    """Drop the rows of an ended job but those of its final, its newest and its best checkpoint, and of pinned ones.

    Return the paths of the files that no row names any more. The caller holds the job's row.
    """
    saved = listed(connection, job_id)
    pinned = _pinned(connection, job_id)
    newest = next((one for one in saved if one.name != "final"), None)
    final = find(connection, job_id, "final")
    gone = [one for one in saved if not one.is_best and one not in {newest, final} and one.sha256 not in pinned]
    _forget(connection, job_id, gone)
    return [one.path for one in gone]


def _artifact_bytes(connection: Connection, job_id: str) -> int:
    total = sa.select(sa.func.coalesce(sa.func.sum(artifacts.c.bytes), 0)).where(artifacts.c.job_id == job_id)
    return int(connection.execute(total).scalar_one())


def _forget(connection: Connection, job_id: str, gone: list[Saved]) -> None:
    if gone:
        names = [one.name for one in gone]
        connection.execute(sa.delete(_table).where(_table.c.job_id == job_id, _table.c.name.in_(names)))


def _pinned(connection: Connection, job_id: str) -> set[str]:
    """Return the SHA-256 of those files of a job that a waiting or running job was pinned to."""
    query = (
        sa.select(job_inputs.c.sha256)
        .join(jobs, jobs.c.id == job_inputs.c.job_id)
        .where(job_inputs.c.source_job_id == job_id, jobs.c.state.not_in(TERMINAL))
    )
    return set(connection.execute(query).scalars())


def needed_by(connection: Connection, job_id: str) -> list[str]:
    """Return the jobs that have not ended and were pinned to one of this job's checkpoints."""
    query = (
        sa.select(job_inputs.c.job_id)
        .join(jobs, jobs.c.id == job_inputs.c.job_id)
        .where(job_inputs.c.source_job_id == job_id, jobs.c.state.not_in(TERMINAL))
        .order_by(job_inputs.c.job_id)
    )
    return list(connection.execute(query).scalars())


def delete_after(connection: Connection, job_id: str, step: int) -> list[str]:
    """Forget the checkpoints past `step`: an attempt computes them again. Return their files' paths."""
    later = sa.and_(_table.c.job_id == job_id, _table.c.step > step)
    gone = connection.execute(sa.delete(_table).where(later).returning(_table.c.path, _table.c.sha256)).all()
    pinned = _pinned(connection, job_id) if gone else set()
    return [row.path for row in gone if row.sha256 not in pinned]
