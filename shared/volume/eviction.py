"""What goes when jobs and uploads take more of the volume than they may (`FITQ_VOLUME_MAX_MB`).

In this order, the oldest first, until enough is free: models that were written in other formats, which are written
again when somebody asks; uploads that no job needs; checkpoints of ended jobs that are neither the final one, nor the
newest, nor the best. Results, artifacts, and whatever a waiting or running job needs, stay.
"""

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from shared import checkpoints, db, store, upkeep, uploads
from shared.clock import after
from shared.states import TERMINAL, Kind
from shared.tables import checkpoints as _table
from shared.tables import jobs, results
from shared.volume import usage

#: The part of what is allowed that is kept free, for jobs that begin.
FREE_PART = 0.1
#: Seconds for which nothing goes after its last use: somebody may be about to use it again.
_RESPITE_S = 3600.0
#: Uploads that go at a time.
_UPLOADS = 10


def evict(engine: Engine, volume: Path, *, most_bytes: int, respite_s: float = _RESPITE_S) -> tuple[int, int]:
    """Remove what may go until a tenth of `most_bytes` is free; return the bytes used before and after."""
    wanted = int(most_bytes * (1 - FREE_PART))
    before = used = _used(engine)
    for freed in (_exports, _uploads, _checkpoints):
        steps = freed(engine, volume, respite_s)
        while used > wanted and next(steps, None) is not None:
            used = _used(engine)
    return before, used


def _used(engine: Engine) -> int:
    with db.read(engine) as connection:
        return usage.used_bytes(connection)


def _exports(engine: Engine, volume: Path, respite_s: float) -> Iterator[str]:
    """Delete exports, one for each step."""
    while True:
        with db.write(engine) as connection:
            gone = upkeep.prune(connection, Kind.EXPORT, older_than_s=respite_s, most=1)
            for job_id in gone:
                store.remove_job(volume, job_id)
        if not gone:
            return
        yield gone[0]


def _uploads(engine: Engine, volume: Path, respite_s: float) -> Iterator[int]:
    """Delete uploads that no job needs, some for each step."""
    while gone := uploads.prune(engine, volume, after_s=respite_s, most=_UPLOADS):
        yield gone


def _checkpoints(engine: Engine, volume: Path, respite_s: float) -> Iterator[str]:
    """Delete what can go of ended jobs, a job for each step, the one that ended first first."""
    for job_id in _with_superfluous(engine, respite_s):
        with db.write(engine) as connection:
            # Its row is ours: nobody is pinned to its checkpoints, and no attempt of it begins, meanwhile.
            ended = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(TERMINAL))
            if connection.execute(sa.select(jobs.c.id).where(ended).with_for_update()).first() is None:
                continue
            paths = checkpoints.thin(connection, job_id)
        for path in paths:
            store.remove(volume, path)
        yield job_id


def _with_superfluous(engine: Engine, respite_s: float) -> list[str]:
    """Return the ended jobs with a checkpoint that is neither final, nor newest, nor best."""
    newer = _table.alias()
    later = sa.tuple_(newer.c.step, newer.c.epoch) > sa.tuple_(_table.c.step, _table.c.epoch)
    is_newest = ~sa.exists().where(newer.c.job_id == _table.c.job_id, later)
    is_final = sa.exists().where(results.c.job_id == _table.c.job_id, results.c.final_checkpoint == _table.c.name)
    query = (
        sa.select(jobs.c.id)
        .join(_table, _table.c.job_id == jobs.c.id)
        .where(jobs.c.state.in_(TERMINAL), jobs.c.finished_at < after(-respite_s))
        .where(~_table.c.is_best, ~is_newest, ~is_final)
        .group_by(jobs.c.id, jobs.c.finished_at)
        .order_by(jobs.c.finished_at)
    )
    with db.read(engine) as connection:
        return list(connection.execute(query).scalars())
