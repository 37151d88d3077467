"""The pruner: forgets what nobody needs any more."""

from pathlib import Path

from sqlalchemy import Engine

from shared import db, exports, log, store, upkeep, uploads, workers
from shared.states import Kind
from shared.volume import eviction, leftovers

#: Seconds for which a worker that is gone stays in the list.
WORKER_S = 86_400.0
#: Seconds for which internal jobs, and their files, may stay behind their end.
KEPT_S = {Kind.CHECK: 600.0, Kind.EXPORT: exports.KEPT_S}
#: Seconds after which a file below `uploads` that nobody adds to and no row names is a crash's leaving.
STRAY_S = 86_400.0

_log = log.get(__name__)


def prune(engine: Engine, volume: Path) -> None:
    """Delete the rows of workers long gone, and the rows and files of checks and exports past their time."""
    # Files of jobs whose rows are gone would stay for ever: without the volume, jobs wait.
    kept_s = KEPT_S if store.is_there(volume) else {}
    with db.write(engine) as connection:
        gone = workers.forget(connection, after_s=WORKER_S)
        old = [one for kind, kept in kept_s.items() for one in upkeep.prune(connection, kind, older_than_s=kept)]
        for job_id in old:
            # Before the commit: a row that is gone would leave nobody to remove its files.
            store.remove_job(volume, job_id)
    if gone or old:
        _log.info("pruned", workers=gone, internal_jobs=len(old))


def sweep(engine: Engine, volume: Path, *, grace_s: float = leftovers.GRACE_S) -> int:
    """Remove what lost attempts and deleted jobs left on the volume; return how many files and folders.

    A folder of a job that this database does not know stays: the volume may be another installation's.
    """
    if not store.is_there(volume):
        return 0
    gone = size = 0
    for finding in leftovers.find(engine, volume, grace_s=grace_s):
        try:
            removed = finding.mend is not None and finding.mend()
        except OSError as error:
            _log.warning("not removed; trying again later", path=finding.path, error=str(error))
            continue
        gone, size = gone + removed, size + finding.bytes * removed
    if gone:
        _log.info("swept", files=gone, bytes=size)
    return gone


def evict(engine: Engine, volume: Path, *, most_bytes: int | None) -> None:
    """Keep what jobs and uploads take within what they may, as far as that is possible without harm."""
    if most_bytes is None or not store.is_there(volume):
        return
    before, after = eviction.evict(engine, volume, most_bytes=most_bytes)
    if after < before:
        _log.info("evicted", freed=before - after, used=after, allowed=most_bytes)
    if after > most_bytes:
        _log.warning("the volume holds more than FITQ_VOLUME_MAX_MB: delete jobs", used=after, allowed=most_bytes)


def prune_uploads(engine: Engine, volume: Path, *, keep_s: float) -> None:
    """Delete the uploads that nobody has needed for `keep_s` seconds, and the files that no row names."""
    if not store.is_there(volume):
        return
    gone = uploads.prune(engine, volume, after_s=keep_s)
    strays = uploads.sweep(engine, volume, older_than_s=STRAY_S)
    if gone or strays:
        _log.info("pruned uploads", uploads=gone, strays=strays)
