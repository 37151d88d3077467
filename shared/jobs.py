"""The life of a job in SQL. The only writer of `jobs.state`: each change is guarded by the old state.

    submit ─▶ queued ─claim─▶ running ─finish─▶ succeeded | failed | cancelled
                 ▲               │
                 └── release, machine's fault, expired lease

Every write of an attempt begins with `fence`: no row, no write. The statements are the same on
SQLite and PostgreSQL, and the clock is the database's.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from uuid6 import uuid7

from shared import attempts, db, events, failpoints, lineage, parts, refs, states, uploads
from shared.clock import after, now, unix_now
from shared.errors import Conflict, LeaseLost, Unavailable
from shared.failpoints import Point
from shared.lineage import Source
from shared.spec import SPEC_VERSION, ExportSpec, Spec
from shared.states import CancelMode, Failure, Kind, Lane, State
from shared.tables import job_tags, jobs, results

#: Seconds of waiting that one point of priority is worth.
PRIORITY_S = 600


@dataclass(frozen=True)
class Attempt:
    """A claimed job: what its supervisor needs. `number` is the fencing token."""

    job_id: str
    number: int
    kind: Kind
    lane: Lane
    spec: dict[str, Any]
    source: dict[str, Any] | None
    seed: int
    memory_mb: int
    #: Seconds that earlier attempts ran.
    run_s: float
    numerics: dict[str, Any] | None
    #: Checkpoints that somebody asked for before this attempt.
    saves_asked: int


@dataclass(frozen=True)
class Wishes:
    """What is asked of a running job: how it is to end, whether it is to pause, checkpoints asked for so far."""

    cancel: CancelMode | None
    pause: bool
    saves: int


#: What is asked of a job that nobody has asked anything of.
NO_WISHES = Wishes(None, pause=False, saves=0)


@dataclass(frozen=True)
class Submitted:
    """The answer to a submit: the job, and whether the same key had brought it before."""

    job_id: str
    lane: Lane
    replayed: bool


def new_id() -> str:
    """Return a job's id: it sorts by time."""
    return f"job_{uuid7()}"


# --- submit ---


def submit(
    connection: Connection,
    spec: Spec | ExportSpec,
    *,
    idempotency_key: str | None = None,
    fingerprint: str | None = None,
    kind: Kind | None = None,
    source: Source | None = None,
) -> Submitted:
    """Store a job. When the transaction commits, the job will run.

    `source` is the model that it starts from, where the caller has resolved it.
    The same `idempotency_key` with the same `fingerprint` returns the job that it brought first;
    with another one, raise `Conflict`.
    """
    if idempotency_key is not None and (known := by_key(connection, idempotency_key, fingerprint)):
        return known
    source = source or lineage.resolve(connection, spec)
    job_id = new_id()
    values = {
        "id": job_id,
        "kind": kind or Kind(spec.kind),
        "name": spec.name,
        "state": State.QUEUED,
        "spec": spec.model_dump(mode="json", exclude_none=True),
        "spec_version": spec.spec_version,
        "source": source.to_json() if source else None,
        "seed": spec.seed if spec.seed is not None else secrets.randbits(32),
        "lane": spec.resources.lane,
        "priority": spec.priority,
        "rank": unix_now() - PRIORITY_S * spec.priority,
        "memory_mb": spec.resources.memory_mb,
        "retries": spec.retries,
        "idempotency_key": idempotency_key,
        "fingerprint": fingerprint,
    }
    connection.execute(sa.insert(jobs).values(**values, created_at=now(), queued_at=now(), available_at=now()))
    if spec.tags:
        connection.execute(
            sa.insert(job_tags), [{"job_id": job_id, "key": k, "value": v} for k, v in spec.tags.items()]
        )
    needed = [(pointer, sha256) for pointer, file in parts.files(spec) if (sha256 := refs.upload(file))]
    if source:
        lineage.record(connection, job_id, source)
        needed += uploads.of_model(connection, source.job)
    uploads.record(connection, job_id, needed)
    events.append(connection, job_id, [("state", {"state": State.QUEUED})])
    return Submitted(job_id, spec.resources.lane, replayed=False)


def submit_once(engine: Engine, spec: Spec | ExportSpec, *, idempotency_key: str | None, fingerprint: str) -> Submitted:
    """Store a job in a transaction of its own. See `submit`.

    Of submits that bring one key at the same time, one stores its job; the others return it too.
    """
    try:
        with db.write(engine) as connection:
            submitted = submit(connection, spec, idempotency_key=idempotency_key, fingerprint=fingerprint)
            failpoints.reach(Point.AFTER_INSERT_BEFORE_COMMIT)
    except IntegrityError:
        if idempotency_key is None:
            raise
    else:
        failpoints.reach(Point.AFTER_COMMIT_BEFORE_REPLY)
        return submitted
    with db.read(engine) as connection:
        known = by_key(connection, idempotency_key, fingerprint)
    if known is None:
        raise Unavailable("Another request with this Idempotency-Key failed meanwhile; try again.")
    return known


def by_key(connection: Connection, key: str, fingerprint: str | None) -> Submitted | None:
    """Return the job that an Idempotency-Key has brought, or None. Raise `KeyReused` when the body was another."""
    row = connection.execute(
        sa.select(jobs.c.id, jobs.c.lane, jobs.c.fingerprint).where(jobs.c.idempotency_key == key)
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise KeyReused
    return Submitted(row.id, Lane(row.lane), replayed=True)


class KeyReused(Conflict):
    """This Idempotency-Key came before with another body; use a new key for a new job."""

    code = "idempotency_key_reused"
    status = 422


# --- claim, renew, fence ---


def claim(
    connection: Connection, *, lane: str, worker: str, host: str, free_memory_mb: int, lease_s: float
) -> Attempt | None:
    """Take the best waiting job of a lane that fits the free memory, or None.

    One statement moves it to `running`, takes the lease and numbers the attempt, so that of any
    number of claimers one wins.
    """
    best = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.lane == lane,
            jobs.c.state == sa.literal_column("'queued'"),
            jobs.c.held.is_(False),
            jobs.c.available_at <= now(),
            jobs.c.memory_mb <= free_memory_mb,
            jobs.c.spec_version <= SPEC_VERSION,
        )
        .order_by(jobs.c.rank, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == best.scalar_subquery(), jobs.c.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=jobs.c.attempt + 1,
            worker=worker,
            lease_until=after(lease_s),
            reported=0,
            started_at=sa.func.coalesce(jobs.c.started_at, now()),
            progress=None,
            version=jobs.c.version + 1,
        )
        .returning(*(jobs.c[name] for name in _CLAIMED))
    ).one_or_none()
    if taken is None:
        return None
    attempts.begin(connection, taken.id, taken.attempt, worker=worker, host=host)
    events.append(connection, taken.id, [("state", {"state": State.RUNNING, "attempt": taken.attempt})])
    return Attempt(
        job_id=taken.id,
        number=taken.attempt,
        kind=Kind(taken.kind),
        lane=Lane(taken.lane),
        spec=taken.spec,
        source=taken.source,
        seed=taken.seed,
        memory_mb=taken.memory_mb,
        run_s=taken.run_s,
        numerics=taken.numerics,
        saves_asked=taken.saves_asked,
    )


_CLAIMED = ("id", "attempt", "kind", "lane", "spec", "source", "seed", "memory_mb", "run_s", "numerics", "saves_asked")


def _owned(job_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """Return the fence: this attempt still owns its job."""
    return sa.and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.state == State.RUNNING)


def renew(
    connection: Connection, leases: Sequence[tuple[str, int]], *, lease_s: float
) -> dict[tuple[str, int], Wishes]:
    """Renew attempts' leases in one statement; those missing from the answer are lost.

    A job whose row somebody else holds at this moment is passed over: it is neither renewed nor lost,
    and keeps none of the others waiting.
    """
    if not leases:
        return {}
    ours = sa.or_(*(sa.and_(jobs.c.id == job_id, jobs.c.attempt == attempt) for job_id, attempt in leases))
    ours = sa.and_(jobs.c.state == State.RUNNING, ours)
    free = sa.select(jobs.c.id).where(ours).with_for_update(skip_locked=True)
    renewed = connection.execute(
        sa.update(jobs).where(jobs.c.id.in_(free), ours).values(lease_until=after(lease_s)).returning(*_WISHES)
    )
    held = _wishes(renewed)
    if len(held) < len(leases):
        held |= _wishes(connection.execute(sa.select(*_WISHES).where(ours)))
    return held


def wished(connection: Connection, *, worker: str) -> dict[tuple[str, int], Wishes]:
    """Return what is asked of the running attempts of a worker: its one query each second."""
    asked = sa.or_(jobs.c.cancel_mode.is_not(None), jobs.c.held, jobs.c.saves_asked > 0)
    query = sa.select(*_WISHES).where(jobs.c.state == State.RUNNING, jobs.c.worker == worker, asked)
    return _wishes(connection.execute(query))


_WISHES = (jobs.c.id, jobs.c.attempt, jobs.c.cancel_mode, jobs.c.held, jobs.c.saves_asked)


def _wishes(rows: sa.CursorResult[Any]) -> dict[tuple[str, int], Wishes]:
    def wishes(row: Any) -> Wishes:
        return Wishes(CancelMode(row.cancel_mode) if row.cancel_mode else None, row.held, row.saves_asked)

    return {(row.id, row.attempt): wishes(row) for row in rows}


def fence(connection: Connection, job_id: str, attempt: int, *, batch: int, **values: Any) -> bool:
    """Begin an attempt's write: take the job's row, or raise `LeaseLost`. Also sets `values`.

    `batch` numbers the attempt's writes from 1. Return False when this very batch was committed
    before (its reply was lost): there is nothing to write then.
    """
    changed = connection.execute(
        sa.update(jobs)
        .where(_owned(job_id, attempt), jobs.c.reported == batch - 1)
        .values(reported=batch, version=jobs.c.version + 1, **values)
    )
    if changed.rowcount == 1:
        return True
    reported = connection.execute(
        sa.select(jobs.c.reported).where(jobs.c.id == job_id, jobs.c.attempt == attempt)
    ).scalar_one_or_none()
    if reported == batch:
        return False
    raise LeaseLost


# --- the end of an attempt; each caller has passed the fence ---


def succeed(
    connection: Connection,
    job_id: str,
    attempt: int,
    *,
    value: dict[str, Any],
    weights_sha256: str | None,
    final_checkpoint: str | None,
) -> None:
    """Write the result and end the job as succeeded."""
    connection.execute(
        sa.insert(results).values(
            job_id=job_id,
            attempt=attempt,
            value=value,
            weights_sha256=weights_sha256,
            final_checkpoint=final_checkpoint,
            created_at=now(),
        )
    )
    _end(connection, job_id, attempt, State.SUCCEEDED)


def cancelled(connection: Connection, job_id: str, attempt: int) -> None:
    """End the job as cancelled: its process is gone."""
    _end(connection, job_id, attempt, State.CANCELLED)


def release(connection: Connection, job_id: str, attempt: int) -> None:
    """Give the job back to its lane without counting a failure: a pause, or an orderly shutdown."""
    requeue(connection, job_id, attempt, outcome="released", error=None, delay_s=0.0)


def fail(connection: Connection, job_id: str, attempt: int, code: Failure, message: str) -> State:
    """End the attempt with a failure; return `queued` when it goes back to its lane, else `failed`.

    Only the machine's faults are tried again, and only while fewer than `retries` came in a row. A job whose end
    somebody asked for is cancelled by them, however many came.
    """
    row = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(failures=jobs.c.failures + 1)
        .returning(jobs.c.failures, jobs.c.retries, jobs.c.cancel_mode)
    ).one()
    if code in states.RETRYABLE and (row.failures <= row.retries or row.cancel_mode is not None):
        requeue(
            connection, job_id, attempt, outcome="failed", error=(code, message), delay_s=states.backoff_s(row.failures)
        )
        return State.QUEUED
    _end(connection, job_id, attempt, State.FAILED, error=(code, message))
    return State.FAILED


def requeue(
    connection: Connection,
    job_id: str,
    attempt: int,
    *,
    outcome: str,
    error: tuple[Failure, str] | None,
    delay_s: float,
) -> None:
    """Give a running job back to its lane; one that somebody wants to end is cancelled here."""
    attempts.close(connection, job_id, attempt, outcome=outcome, error=error)
    cancel = connection.execute(sa.select(jobs.c.cancel_mode).where(jobs.c.id == job_id)).scalar_one()
    if cancel is not None:
        # Somebody asked for its end meanwhile: it is not running, so that is the end.
        _finish(connection, job_id, attempt, State.CANCELLED, error=None)
        return
    change(connection, job_id, State.RUNNING, State.QUEUED, lease_until=None, available_at=after(delay_s))
    events.append(
        connection, job_id, [("state", {"state": State.QUEUED, "attempt": attempt, "outcome": outcome, **_said(error)})]
    )


def _end(
    connection: Connection, job_id: str, attempt: int, state: State, *, error: tuple[Failure, str] | None = None
) -> None:
    attempts.close(connection, job_id, attempt, outcome=state, error=error)
    _finish(connection, job_id, attempt, state, error=error)


def _finish(
    connection: Connection, job_id: str, attempt: int, state: State, *, error: tuple[Failure, str] | None
) -> None:
    code, message = error or (None, None)
    change(
        connection,
        job_id,
        State.RUNNING,
        state,
        lease_until=None,
        held=False,
        finished_at=now(),
        error_code=code,
        error_message=message,
    )
    events.append(connection, job_id, [("state", {"state": state, "attempt": attempt, **_said(error)})])


def _said(error: tuple[Failure, str] | None) -> dict[str, Any]:
    return {"error": {"code": error[0], "message": error[1]}} if error else {}


def change(connection: Connection, job_id: str, old: State, new: State, **values: Any) -> None:
    """Move a job from one state to another; somebody else was faster when it is not in the old one."""
    assert new in states.TRANSITIONS[old], (old, new)  # noqa: S101 - a programming error, not an input
    changed = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == old)
        .values(state=new, version=jobs.c.version + 1, **values)
    )
    if changed.rowcount != 1:
        raise LeaseLost
