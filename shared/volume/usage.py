"""How much jobs and uploads take of the volume, by their rows, and whether more may come."""

import shutil

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from shared import db, store
from shared.errors import DiskFull
from shared.incoming import RESERVE
from shared.settings import Settings
from shared.tables import artifacts, checkpoints, uploads


def used_bytes(connection: Connection) -> int:
    """Return the bytes of all checkpoints, artifacts and uploads; logs, and what lies in `data`, are not counted."""
    return sum(
        int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(column), 0))).scalar_one())
        for column in (checkpoints.c.bytes, artifacts.c.bytes, uploads.c.received)
    )


def require_room(engine: Engine, config: Settings, more_bytes: int = 0) -> None:
    """Raise `DiskFull` where no more, or not so much, may come to the volume; whether that is there is no matter."""
    most = config.volume_max_bytes
    if most is not None:
        with db.read(engine) as connection:
            used = used_bytes(connection)
        if used >= most or used + more_bytes > most:
            coming = f", {_mb(more_bytes)} are to come" if more_bytes else ""
            raise DiskFull(
                f"The volume holds {_mb(used)} of jobs and uploads{coming}, and FITQ_VOLUME_MAX_MB allows {_mb(most)}: "
                "delete jobs (`fitq delete JOB`) or uploads that nobody needs."
            )
    volume = config.volume_path
    if store.is_there(volume) and (free := shutil.disk_usage(volume).free) < RESERVE:
        raise DiskFull(
            f"The volume's disk has {_mb(free)} left: delete jobs (`fitq delete JOB`) or uploads that nobody needs."
        )


def _mb(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MB"
