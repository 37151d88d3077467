"""Models in other formats: one internal job for each checkpoint and format, whose file is kept for a while.

The job's Idempotency-Key is what it makes: of any number of requests for one file, one brings the
job, and the others find it, or its file. No user's key is equal: those are ASCII.
"""

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from shared import db, jobs, lineage, wishes
from shared.clock import after
from shared.errors import Unavailable
from shared.jobs import Submitted
from shared.spec import ExportSpec
from shared.states import Kind, State
from shared.tables import jobs as _table

#: Seconds for which whoever asks is told that it failed; after that a request tries it anew.
TOLD_S = 60.0
#: Seconds for which a file is kept.
KEPT_S = 86_400.0

#: Every body is this one: the key says all.
_FINGERPRINT = "export"


def request(engine: Engine, spec: ExportSpec) -> Submitted:
    """Return the export of a checkpoint in a format: the one there is, or a new one.

    The checkpoint is resolved and pinned in the transaction that stores the job. Raise as `lineage.resolve` does.
    """
    for _ in range(2):
        try:
            with db.write(engine) as connection:
                submitted = jobs.submit(
                    connection,
                    spec,
                    kind=Kind.EXPORT,
                    idempotency_key=_key(connection, spec),
                    fingerprint=_FINGERPRINT,
                )
                if submitted.replayed and _failed_long_ago(connection, submitted.job_id):
                    wishes.retry(connection, submitted.job_id)
                    return Submitted(submitted.job_id, submitted.lane, replayed=False)
                return submitted
        except IntegrityError:
            continue  # Another request has brought it meanwhile.
    raise Unavailable("Another request for this file failed meanwhile; try again.")


def _key(connection: Connection, spec: ExportSpec) -> str:
    source = lineage.resolve(connection, spec)
    assert source is not None  # noqa: S101 - its model is a job's
    return f"export·{source.job}·{source.file.sha256}·{spec.format}"


def _failed_long_ago(connection: Connection, job_id: str) -> bool:
    query = sa.select(_table.c.id).where(
        _table.c.id == job_id,
        _table.c.state.in_((State.FAILED, State.CANCELLED)),
        _table.c.finished_at < after(-TOLD_S),
    )
    # Of several who ask at once, one tries it anew and the others find it waiting.
    query = query.with_for_update()
    return connection.execute(query).scalar_one_or_none() is not None
