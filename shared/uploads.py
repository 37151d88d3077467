"""Rows about uploads: what users sent, and which jobs need it. The bytes belong to `shared/incoming.py`.

What is done to an upload's files, other than adding to them, is done while its row is locked: a file is
never put in its place while somebody removes it, and a job is never submitted with an upload that is
being deleted.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from shared import db, incoming, refs, store
from shared.clock import after, now
from shared.errors import BadData, BadRequest, Conflict, FieldError, NotFound, TooLarge
from shared.incoming import Incoming, Unnamed, WrongOffset
from shared.states import TERMINAL
from shared.tables import job_inputs, jobs, uploads

#: Seconds for which a job's use of an upload need not be written down again.
_SEEN_S = 3600.0


class OtherContent(BadData):
    """The content is not what its SHA-256 says; it was thrown away."""

    code = "other_content"


@dataclass(frozen=True)
class Upload:
    """An upload, as its row and its file say."""

    sha256: str
    bytes: int
    #: Bytes that are there.
    offset: int
    #: Whether a job may name it: all of it is there, and was verified.
    complete: bool
    name: str | None
    created_at: datetime
    seen_at: datetime
    complete_at: datetime | None


def _upload(row: Any, volume: Path) -> Upload:
    there = Incoming(volume, row.sha256, row.bytes)
    complete = row.complete_at is not None and there.is_whole()
    times = (row.created_at, row.seen_at, row.complete_at)
    return Upload(row.sha256, row.bytes, there.offset(), complete, row.name, *times)


def get(connection: Connection, volume: Path, sha256: str) -> Upload:
    """Return an upload; raise `NotFound`."""
    row = connection.execute(sa.select(uploads).where(uploads.c.sha256 == sha256)).one_or_none()
    if row is None:
        raise _missing(sha256)
    return _upload(row, volume)


def page(connection: Connection, volume: Path, *, before: tuple[datetime, str] | None, limit: int) -> list[Upload]:
    """Return uploads, the newest first, behind the one that `before` names."""
    query = sa.select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.sha256.desc()).limit(limit)
    if before is not None:
        at, sha256 = before
        same = sa.and_(uploads.c.created_at == at, uploads.c.sha256 < sha256)
        query = query.where(sa.or_(uploads.c.created_at < at, same))
    return [_upload(row, volume) for row in connection.execute(query)]


# --- arriving ---


def begin(engine: Engine, volume: Path, *, sha256: str, size: int, name: str | None) -> Upload:
    """Return the upload of this content: a new one, what has arrived of it, or all of it.

    Raise `DiskFull` when the rest would not fit, `BadRequest` when the content has another size.
    """
    with db.write(engine) as connection:
        row = _opened(connection, sha256, size, name)
        there = Incoming(volume, sha256, row.bytes)
        if there.is_whole():
            if row.bytes != size:
                raise BadRequest(
                    f"bytes: the content with this SHA-256 has {row.bytes} bytes, not {size}.",
                    fields=(FieldError("/bytes", f"is {row.bytes} of this content"),),
                )
            # Verified before it got this name, even if its row was not written any more.
            return _completed(connection, there)
        if row.bytes != size or row.complete_at:
            # Somebody was wrong about the size, or the file is gone or damaged: it comes anew.
            there.remove()
        there = Incoming(volume, sha256, size)
        there.begin()
        changed = _set(connection, there, bytes=size, received=there.offset(), complete_at=None)
    return changed if changed.offset < size else _finish(engine, there)


def append(engine: Engine, volume: Path, sha256: str, *, offset: int, pieces: Iterable[bytes]) -> Upload:
    """Add what follows the first `offset` bytes; return the upload, complete when that was its end.

    What arrived stays, also when `pieces` ends in an error. Raise `NotFound`, `WrongOffset`,
    `TooLarge`, `DiskFull`, and `OtherContent` when all is there and is not what its name says.
    """
    with db.read(engine) as connection:
        upload = get(connection, volume, sha256)
    if upload.complete_at and not upload.complete:
        raise NotFound(f"The file of {refs.ref(sha256)} is not on the volume any more: ask for the upload anew.")
    there = Incoming(volume, sha256, upload.bytes)
    if offset != upload.offset:
        raise WrongOffset(upload.offset)
    try:
        position = offset
        for piece in pieces:
            if position + len(piece) > upload.bytes:
                raise TooLarge(f"The upload has {upload.bytes} bytes, and more came.")
            position = there.add(position, piece)
    finally:
        with db.write(engine) as connection:
            seen = _arrived(connection, there)
    return seen if seen.complete or seen.offset < seen.bytes else _finish(engine, there)


def take(engine: Engine, volume: Path, pieces: Iterable[bytes], *, most: int, size: int | None) -> tuple[Upload, bool]:
    """Take content whose SHA-256 is not known yet; return its upload, and whether it is a new one.

    `size` is what it will have, where that is known. Nothing stays when `pieces` ends in an error. Raise
    `TooLarge`, `DiskFull`, and `BadRequest` when nothing came.
    """
    if (size or 0) > most:
        raise too_large(most)
    incoming.require_room(volume, size or 0)
    unnamed = Unnamed(volume)
    try:
        for piece in pieces:
            if unnamed.size + len(piece) > most:
                raise too_large(most)
            unnamed.add(piece)
        if not unnamed.size:
            raise BadRequest("The body is empty; it must be the content of a file.")
        there = unnamed.finished()
        with db.write(engine) as connection:
            _opened(connection, there.sha256, there.size)
            known = there.is_whole()
            if not known:
                unnamed.place(there)
            return _completed(connection, there), not known
    finally:
        unnamed.close()


def too_large(most: int) -> TooLarge:
    """Return the error for content of more than `most` bytes."""
    return TooLarge(f"An upload may have at most {most >> 20} MB here (FITQ_UPLOAD_MAX_MB).")


def _finish(engine: Engine, there: Incoming) -> Upload:
    """Verify an upload of which every byte has arrived, and put it in its place."""
    try:
        with there.locked() as file:
            os.fsync(file.fileno())
            is_right = incoming.digest(file) == there.sha256
            with db.write(engine) as connection:
                _require_ours(connection, there, os.fstat(file.fileno()))
                if is_right:
                    there.place()
                    return _completed(connection, there)
                there.discard()
                connection.execute(sa.delete(uploads).where(uploads.c.sha256 == there.sha256))
    except NotFound:
        if not there.is_whole():
            raise
        # Somebody who sent the same was faster.
        with db.write(engine) as connection:
            return _completed(connection, there)
    raise OtherContent(f"The content that came is not {refs.ref(there.sha256)}; it was thrown away. Send it again.")


def _require_ours(connection: Connection, there: Incoming, found: os.stat_result) -> None:
    """Lock the row; raise `NotFound` when the upload was deleted while its content was verified."""
    row = connection.execute(sa.select(uploads).where(uploads.c.sha256 == there.sha256).with_for_update()).one_or_none()
    if row is None or not store.is_same(there.part, found):
        raise _missing(there.sha256)


def _new(connection: Connection, sha256: str, size: int, name: str | None = None) -> Any:
    """Return the statement that writes a new upload's row, but for what it does when there is one."""
    row = {"sha256": sha256, "bytes": size, "received": 0, "name": name, "created_at": now(), "seen_at": now()}
    return db.dialect_insert(connection, uploads).values(**row)


def _opened(connection: Connection, sha256: str, size: int, name: str | None = None) -> Any:
    """Return an upload's row, locked; a new one if there is none."""
    # The newest name counts: it is that of the file which somebody has at hand.
    changes = {"seen_at": now()} | ({} if name is None else {"name": name})
    seen = _new(connection, sha256, size, name).on_conflict_do_update(index_elements=["sha256"], set_=changes)
    return connection.execute(seen.returning(*uploads.c)).one()


def _arrived(connection: Connection, there: Incoming) -> Upload:
    """Write down how much is there; raise `NotFound` when the upload is another one by now."""
    received = sa.case((uploads.c.complete_at.is_(None), there.offset()), else_=uploads.c.bytes)
    return _set(connection, there, uploads.c.bytes == there.size, received=received)


def _completed(connection: Connection, there: Incoming) -> Upload:
    at = sa.func.coalesce(uploads.c.complete_at, now())
    return _set(connection, there, bytes=there.size, received=there.size, complete_at=at)


def _set(connection: Connection, there: Incoming, *where: sa.ColumnElement[bool], **values: Any) -> Upload:
    """Change an upload's row, which was seen now; raise `NotFound`."""
    change = sa.update(uploads).where(uploads.c.sha256 == there.sha256, *where).values(seen_at=now(), **values)
    row = connection.execute(change.returning(*uploads.c)).one_or_none()
    if row is None:
        raise _missing(there.sha256)
    return _upload(row, there.volume)


def _missing(sha256: str) -> NotFound:
    return NotFound(f"There is no upload {refs.ref(sha256)}.")


# --- needed by jobs ---


def record(connection: Connection, job_id: str, named: Sequence[tuple[str, str]]) -> None:
    """Write down that a job needs uploads, (JSON pointer, SHA-256) each, so that they stay until it has ended.

    Raise `BadData` naming the fields whose uploads are not there.
    """
    there = _held(connection, {sha256 for _, sha256 in named})
    wrong = [
        FieldError(pointer, f"There is no complete upload {refs.ref(sha256)}: send the file with `fitq upload FILE`.")
        for pointer, sha256 in named
        if sha256 not in there
    ]
    if wrong:
        raise BadData(wrong[0].message, fields=tuple(wrong))
    rows = [
        {"job_id": job_id, "role": f"upload-{number}", "sha256": sha256, "pointer": pointer[:1000]}
        for number, (pointer, sha256) in enumerate(named)
    ]
    if rows:
        connection.execute(sa.insert(job_inputs), rows)


def require(connection: Connection, job_id: str) -> None:
    """Keep the uploads of a job that is to run again; raise `Conflict` when one was deleted meanwhile."""
    query = sa.select(job_inputs.c.sha256).where(job_inputs.c.job_id == job_id, job_inputs.c.pointer.is_not(None))
    wanted = set(connection.execute(query).scalars())
    if gone := sorted(wanted - _held(connection, wanted)):
        raise Conflict(
            f"The upload {refs.ref(gone[0])} was deleted meanwhile: send the file again, then retry the job."
        )


def of_model(connection: Connection, job_id: str) -> list[tuple[str, str]]:
    """Return the upload that a job's model is built from, as (JSON pointer, SHA-256); at most one."""
    query = sa.select(job_inputs.c.pointer, job_inputs.c.sha256).where(
        job_inputs.c.job_id == job_id, job_inputs.c.pointer == "/model/upload"
    )
    return [(row.pointer, row.sha256) for row in connection.execute(query)]


def called(connection: Connection, job_id: str) -> dict[str, str]:
    """Return what a job's uploads are called in sentences for its user, by their references.

    That is an upload's name where no other of the job's has the same, else the field of the spec that names it.
    """
    query = (
        sa.select(job_inputs.c.sha256, job_inputs.c.pointer, job_inputs.c.role, uploads.c.name)
        .outerjoin(uploads, uploads.c.sha256 == job_inputs.c.sha256)
        .where(job_inputs.c.job_id == job_id, job_inputs.c.pointer.is_not(None))
    )
    found = sorted(connection.execute(query), key=lambda row: (len(row.role), row.role), reverse=True)
    # The first field that names a content comes last, and stays.
    rows = {row.sha256: row for row in found}
    times = Counter(refs.shown(row.name) for row in rows.values())
    return {
        refs.ref(sha256): refs.shown(row.name if times[refs.shown(row.name)] == 1 else None, row.pointer)
        for sha256, row in rows.items()
    }


def _held(connection: Connection, wanted: set[str]) -> set[str]:
    """Return those uploads that are complete; none of them is deleted before this transaction has ended."""
    if not wanted:
        return set()
    # A key's share: others who submit do not wait, who deletes does.
    query = (
        sa.select(uploads.c.sha256)
        .where(uploads.c.sha256.in_(wanted), uploads.c.complete_at.is_not(None))
        .order_by(uploads.c.sha256)
        .with_for_update(read=True, key_share=True)
    )
    found = set(connection.execute(query).scalars())
    stale = sa.and_(uploads.c.sha256.in_(found), uploads.c.seen_at < after(-_SEEN_S))
    connection.execute(sa.update(uploads).where(stale).values(seen_at=now()))
    return found


# --- going ---


def delete(connection: Connection, volume: Path, sha256: str) -> None:
    """Delete an upload and its file. Raise `NotFound`, or `Conflict` while a job needs it."""
    if not _locked(connection, sha256):
        raise _missing(sha256)
    job_id = connection.execute(_needing(sha256).where(jobs.c.state.not_in(TERMINAL)).limit(1)).scalar_one_or_none()
    if job_id is not None:
        raise Conflict(f"Job {job_id} needs this upload: cancel the job, or wait for its end.")
    _remove(connection, volume, sha256)


def prune(engine: Engine, volume: Path, *, after_s: float, most: int = 1000) -> int:
    """Delete uploads that no job has needed, and nobody has asked for, for so long; return how many."""
    old = uploads.c.seen_at < after(-after_s)
    recent = sa.or_(jobs.c.state.not_in(TERMINAL), jobs.c.finished_at > after(-after_s))
    with db.read(engine) as connection:
        used = _needing(uploads.c.sha256).where(recent).exists()
        query = sa.select(uploads.c.sha256).where(old, ~used).order_by(uploads.c.seen_at).limit(most)
        found = connection.execute(query).scalars().all()
    gone = 0
    for sha256 in found:
        with db.write(engine) as connection:
            # Looked at again behind the lock: a job may have come.
            if _locked(connection, sha256, old) and not connection.execute(_needing(sha256).where(recent)).first():
                _remove(connection, volume, sha256)
                gone += 1
    return gone


def sweep(engine: Engine, volume: Path, *, older_than_s: float) -> int:
    """Remove old files that no row names; return how many uploads they were of."""
    for path in incoming.unnamed(volume, older_than_s=older_than_s):
        path.unlink(missing_ok=True)
    return sum(remove_stray(engine, stray) for stray in incoming.strays(volume, older_than_s=older_than_s))


def remove_stray(engine: Engine, stray: Incoming) -> bool:
    """Remove the files of an upload that has no row; return whether it had none."""
    with db.write(engine) as connection:
        # The row is ours while the file goes: nobody begins to send it again meanwhile.
        ours = _new(connection, stray.sha256, stray.size).on_conflict_do_nothing().returning(uploads.c.sha256)
        if connection.execute(ours).first() is None:
            return False
        _remove(connection, stray.volume, stray.sha256)
    return True


def known(connection: Connection, sha256: Sequence[str]) -> set[str]:
    """Return those that are uploads, complete or not."""
    return set(connection.execute(sa.select(uploads.c.sha256).where(uploads.c.sha256.in_(sha256))).scalars())


def void(connection: Connection, volume: Path, sha256: str, complete_at: datetime) -> bool:
    """Throw away a content that is not what its name says, so that it can be sent again.

    Return False when it was sent again, or deleted, since it was complete at that time.
    """
    if not _locked(connection, sha256, uploads.c.complete_at == complete_at):
        return False
    change = sa.update(uploads).where(uploads.c.sha256 == sha256)
    connection.execute(change.values(complete_at=None, received=0))
    Incoming(volume, sha256, 1).remove()
    return True


def _locked(connection: Connection, sha256: str, *where: sa.ColumnElement[bool]) -> bool:
    query = sa.select(uploads.c.sha256).where(uploads.c.sha256 == sha256, *where).with_for_update()
    return connection.execute(query).first() is not None


def _needing(sha256: str | sa.ColumnElement[str]) -> sa.Select[tuple[str]]:
    return (
        sa.select(jobs.c.id)
        .join(job_inputs, job_inputs.c.job_id == jobs.c.id)
        .where(job_inputs.c.sha256 == sha256, job_inputs.c.pointer.is_not(None))
    )


def _remove(connection: Connection, volume: Path, sha256: str) -> None:
    connection.execute(sa.delete(uploads).where(uploads.c.sha256 == sha256))
    Incoming(volume, sha256, 1).remove()
