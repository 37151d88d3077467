"""The pruner: forgets what nobody needs any more."""

from pathlib import Path

from sqlalchemy import Engine

from shared import db, exports, log, store, upkeep, uploads, workers
from shared.states import Kind

#: Seconds for which a worker that is gone stays in the list.
WORKER_S = 86_400.0
#: Seconds for which internal jobs, and their files, may stay behind their end.
KEPT_S = {Kind.CHECK: 600.0, Kind.EXPORT: exports.KEPT_S}
#: Seconds after which a file below `uploads` that nobody adds to and no row names is a crash's leaving.
STRAY_S = 86_400.0

_log = log.get(__name__)


def prune(engine: Engine, volume: Path) -> None:
    """Delete the rows of workers long gone, and the rows and files of checks and exports past their time."""
    with db.write(engine) as connection:
        gone = workers.forget(connection, after_s=WORKER_S)
        old = [one for kind, kept_s in KEPT_S.items() for one in upkeep.prune(connection, kind, older_than_s=kept_s)]
    for job_id in old:
        store.remove_job(volume, job_id)
    if gone or old:
        _log.info("pruned", workers=gone, internal_jobs=len(old))


def prune_uploads(engine: Engine, volume: Path, *, keep_s: float) -> None:
    """Delete the uploads that nobody has needed for `keep_s` seconds, and the files that no row names."""
    if not store.is_there(volume):
        return
    gone = uploads.prune(engine, volume, after_s=keep_s)
    strays = uploads.sweep(engine, volume, older_than_s=STRAY_S)
    if gone or strays:
        _log.info("pruned uploads", uploads=gone, strays=strays)
