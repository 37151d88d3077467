"""Everything in which rows and files disagree: what `fitq fsck` finds, and mends. Safe while a stack runs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from shared import db, incoming, store, uploads
from shared.clock import after
from shared.errors import Misconfigured
from shared.incoming import Incoming
from shared.states import State
from shared.tables import artifacts, checkpoints, jobs
from shared.volume import damage, leftovers
from shared.volume.damage import Seen
from shared.volume.findings import Fault, Finding

#: Leases' times after which control should have taken an expired job back.
_LEASES = 4


def find(
    engine: Engine, volume: Path, *, quick: bool, lease_s: float, seen: Seen, grace_s: float = leftovers.GRACE_S
) -> Iterator[Finding]:
    """Yield what rows and files disagree on, rows first; `quick` reads no file. Raise `Misconfigured`.

    A finding is to be mended before the next one is asked for: a row that is void leaves a file to nobody.
    """
    _require_volume(engine, volume)
    yield from damage.of_pins(engine, volume, quick=quick)
    yield from damage.of_jobs(engine, volume, quick=quick, seen=seen)
    yield from damage.of_uploads(engine, volume, quick=quick, seen=seen)
    yield from leftovers.find(engine, volume, grace_s=grace_s)
    yield from leftovers.of_unknown(engine, volume, grace_s=grace_s)
    yield from _strays(engine, volume, grace_s)
    yield from _leases(engine, lease_s)


def _require_volume(engine: Engine, volume: Path) -> None:
    """Refuse a volume that is not there, or another installation's: each row, or each file, would be a finding."""
    if not store.is_there(volume):
        raise Misconfigured(f"There is no volume at {volume}: mount it, or set FITQ_VOLUME.")
    folders = leftovers.job_folders(volume)
    rows = sa.union(*(sa.select(table.c.job_id).distinct() for table in (checkpoints, artifacts)))
    with db.read(engine) as connection:
        named = set(connection.execute(rows).scalars())
    strange = len(leftovers.unknown(engine, folders)) == len(folders)
    if (named or folders) and strange and named.isdisjoint(folders):
        raise Misconfigured(
            f"None of the {len(named)} jobs with files in the database has a folder in {volume}, and none of its "
            f"{len(folders)} folders is a known job's: set FITQ_VOLUME and FITQ_DATABASE_URL of one installation."
        )


def _strays(engine: Engine, volume: Path, grace_s: float) -> Iterator[Finding]:
    for path in incoming.unnamed(volume, older_than_s=grace_s):
        below = path.relative_to(volume).as_posix()
        yield Finding(
            Fault.ORPHAN, below, path.stat().st_size, "An upload broke off here.", partial(leftovers.remove, path)
        )
    strays = list(incoming.strays(volume, older_than_s=grace_s))
    with db.read(engine) as connection:
        known = uploads.known(connection, [one.sha256 for one in strays])
    for stray in strays:
        if stray.sha256 not in known:
            yield _stray(engine, stray)


def _stray(engine: Engine, stray: Incoming) -> Finding:
    path = (stray.path if stray.path.exists() else stray.part).relative_to(stray.volume).as_posix()
    return Finding(
        Fault.ORPHAN, path, stray.size, "There is no such upload.", partial(uploads.remove_stray, engine, stray)
    )


def _leases(engine: Engine, lease_s: float) -> Iterator[Finding]:
    expired = sa.and_(jobs.c.state == State.RUNNING, jobs.c.lease_until < after(-_LEASES * lease_s))
    with db.read(engine) as connection:
        found = connection.execute(sa.select(jobs.c.id, jobs.c.worker).where(expired).order_by(jobs.c.id)).all()
    for row in found:
        meaning = (
            f"It runs on {row.worker}, and its lease expired long ago: is control running (`python -m worker.control`)?"
        )
        yield Finding(Fault.LEASE, row.id, 0, meaning)
