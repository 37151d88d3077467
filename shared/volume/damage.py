"""Rows whose files are gone, or are not what the rows say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from shared import db, events, refs, store, uploads
from shared.states import TERMINAL, State
from shared.store import StoredFile
from shared.tables import artifacts, checkpoints, jobs
from shared.tables import uploads as uploads_table
from shared.volume.findings import Fault, Finding

#: Rows that are read at a time.
_ROWS = 500

#: Told of each file that was looked at: its bytes by its row.
Seen = Callable[[int], None]


@dataclass(frozen=True)
class _Row:
    """A checkpoint's or an artifact's row."""

    table: sa.Table
    job_id: str
    name: str
    attempt: int
    file: StoredFile
    #: Whether its attempt runs.
    live: bool

    @property
    def where(self) -> sa.ColumnElement[bool]:
        """The row, as long as it says the same."""
        columns = self.table.c
        same = (columns.path == self.file.path, columns.sha256 == self.file.sha256, columns.bytes == self.file.bytes)
        return sa.and_(columns.job_id == self.job_id, columns.name == self.name, *same)


def of_jobs(engine: Engine, volume: Path, *, quick: bool, seen: Seen) -> Iterator[Finding]:
    """Yield what is wrong about checkpoints and artifacts; `quick`: by their sizes alone."""
    for table in (checkpoints, artifacts):
        for row in _rows(engine, table):
            fault = _fault(volume, row.file, quick=quick)
            if fault is not None and _stands(engine, row):
                yield _finding(engine, row, *fault)
            seen(row.file.bytes)


def _rows(engine: Engine, table: sa.Table) -> Iterator[_Row]:
    """Yield a table's rows in pages, so that no transaction lasts while files are read."""
    last = ("", "")
    while True:
        place = sa.tuple_(table.c.job_id, table.c.name) > sa.tuple_(*map(sa.literal, last))
        query = (
            sa.select(table, (sa.and_(jobs.c.state == State.RUNNING, jobs.c.attempt == table.c.attempt)).label("live"))
            .join(jobs, jobs.c.id == table.c.job_id)
            .where(place)
            .order_by(table.c.job_id, table.c.name)
            .limit(_ROWS)
        )
        with db.read(engine) as connection:
            found = connection.execute(query).all()
        for row in found:
            yield _Row(
                table, row.job_id, row.name, row.attempt, StoredFile(row.path, row.bytes, row.sha256), bool(row.live)
            )
        if len(found) < _ROWS:
            return
        last = (found[-1].job_id, found[-1].name)


def _fault(volume: Path, file: StoredFile, *, quick: bool) -> tuple[Fault, str] | None:
    """Return in which way a file is not what its row says, and the sentence about it."""
    try:
        size = (volume / file.path).stat().st_size
        if size != file.bytes:
            return Fault.DAMAGED, f"It has {size:,} bytes; its row says {file.bytes:,}."
        if not quick and store.describe(volume, file.path).sha256 != file.sha256:
            return Fault.DAMAGED, "Its content has another SHA-256 than its row says."
    except (FileNotFoundError, NotADirectoryError):
        return Fault.MISSING, "A row names it, and it is not there."
    except OSError as error:
        return Fault.UNREADABLE, f"It cannot be read: {error.strerror}."
    return None


def _stands(engine: Engine, row: _Row) -> bool:
    """Whether the row is there behind its file, and nobody who has begun to remove both is about to commit."""
    with db.write(engine) as connection:
        connection.execute(sa.select(jobs.c.id).where(jobs.c.id == row.job_id).with_for_update(read=True))
        return connection.execute(sa.select(row.table.c.name).where(row.where)).first() is not None


def _finding(engine: Engine, row: _Row, fault: Fault, meaning: str) -> Finding:
    if row.live or fault == Fault.UNREADABLE:
        why = " Its attempt runs: it is left alone." if row.live else ""
        return Finding(fault, row.file.path, row.file.bytes, meaning + why)
    return Finding(fault, row.file.path, row.file.bytes, meaning, partial(_void, engine, row))


def _void(engine: Engine, row: _Row) -> bool:
    """Delete the row of a file that is not what it says; return False when the row, or its attempt, is another now."""
    what = "checkpoint" if row.table is checkpoints else "artifact"
    with db.write(engine) as connection:
        live = sa.and_(jobs.c.state == State.RUNNING, jobs.c.attempt == row.attempt)
        changed = sa.update(jobs).where(jobs.c.id == row.job_id, ~live).values(version=jobs.c.version + 1)
        if connection.execute(changed).rowcount != 1:
            return False
        if connection.execute(sa.delete(row.table).where(row.where)).rowcount != 1:
            return False
        events.append(connection, row.job_id, [("lost", {what: row.name, "attempt": row.attempt})])
    return True


def of_pins(engine: Engine, volume: Path, *, quick: bool) -> Iterator[Finding]:
    """Yield the files that waiting and running jobs were pinned to, where these are gone or altered."""
    query = (
        sa.select(jobs.c.id, jobs.c.source)
        .where(jobs.c.source.is_not(None), jobs.c.state.not_in(TERMINAL))
        .order_by(jobs.c.id)
    )
    with db.read(engine) as connection:
        found = connection.execute(query).all()
    for row in found:
        file = StoredFile(**row.source["file"])
        fault = _fault(volume, file, quick=quick)
        if fault is not None and _waits(engine, row.id):
            meaning = f"{fault[1]} Job {row.id} needs it: cancel that job, and submit it anew."
            yield Finding(fault[0], file.path, file.bytes, meaning)


def _waits(engine: Engine, job_id: str) -> bool:
    query = sa.select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.state.not_in(TERMINAL))
    with db.read(engine) as connection:
        return connection.execute(query).first() is not None


def of_uploads(engine: Engine, volume: Path, *, quick: bool, seen: Seen) -> Iterator[Finding]:
    """Yield what is wrong about uploads that are said to be complete."""
    complete = sa.select(uploads_table).where(uploads_table.c.complete_at.is_not(None))
    with db.read(engine) as connection:
        found = connection.execute(complete.order_by(uploads_table.c.sha256)).all()
    for row in found:
        file = StoredFile(store.upload_path(row.sha256), row.bytes, row.sha256)
        fault = _fault(volume, file, quick=quick)
        if fault is not None and _is_complete(engine, row):
            meaning = f"{fault[1]} Who names {refs.ref(row.sha256)[:19]}… must send the file again."
            mend = None if fault[0] == Fault.UNREADABLE else partial(_void_upload, engine, volume, row)
            yield Finding(fault[0], file.path, file.bytes, meaning, mend)
        seen(row.bytes)


def _is_complete(engine: Engine, row: Any) -> bool:
    same = sa.and_(uploads_table.c.sha256 == row.sha256, uploads_table.c.complete_at == row.complete_at)
    with db.write(engine) as connection:
        # Who deletes an upload holds its row until the file is gone.
        locked = sa.select(uploads_table.c.sha256).where(same).with_for_update(read=True)
        return connection.execute(locked).first() is not None


def _void_upload(engine: Engine, volume: Path, row: Any) -> bool:
    with db.write(engine) as connection:
        return uploads.void(connection, volume, row.sha256, row.complete_at)


def total(engine: Engine) -> tuple[int, int]:
    """Return how many files rows name, and their bytes."""
    count = size = 0
    complete = uploads_table.c.complete_at.is_not(None)
    with db.read(engine) as connection:
        for table, where in ((checkpoints, sa.true()), (artifacts, sa.true()), (uploads_table, complete)):
            query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(table.c.bytes), 0)).where(where)
            rows, held = connection.execute(query.select_from(table)).one()
            count, size = count + rows, size + int(held)
    return count, size
