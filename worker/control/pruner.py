"""The pruner: forgets what nobody needs any more."""

from pathlib import Path

from sqlalchemy import Engine

from shared import db, jobs, log, store, workers

#: Seconds for which a worker that is gone stays in the list.
WORKER_S = 86_400.0
#: Seconds for which an internal check job may stay.
CHECK_S = 600.0

_log = log.get(__name__)


def prune(engine: Engine, volume: Path) -> None:
    """Delete the rows of workers long gone, and the rows and files of checks that nobody fetched."""
    with db.write(engine) as connection:
        gone = workers.forget(connection, after_s=WORKER_S)
        checks = jobs.prune_checks(connection, older_than_s=CHECK_S)
    for job_id in checks:
        store.remove_job(volume, job_id)
    if gone or checks:
        _log.info("pruned", workers=gone, checks=len(checks))
