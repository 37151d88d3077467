"""Reading jobs: one, or a page of many, with what a person wants to know of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import clock, workers
from shared.clock import now
from shared.errors import NotFound
from shared.states import INTERNAL, Kind, State
from shared.store import StoredFile
from shared.tables import artifacts, attempts, job_tags, jobs, results


@dataclass(frozen=True)
class Job:
    """A job as its row stands."""

    id: str
    kind: Kind
    name: str | None
    state: State
    spec: dict[str, Any]
    source: dict[str, Any] | None
    seed: int
    lane: str
    priority: int
    rank: float
    memory_mb: int
    retries: int
    failures: int
    attempt: int
    event_seq: int
    version: int
    worker: str | None
    cancel_mode: str | None
    held: bool
    parent_id: str | None
    deleted_at: datetime | None
    progress: dict[str, Any] | None
    numerics: dict[str, Any] | None
    run_s: float
    error_code: str | None
    error_message: str | None
    created_at: datetime
    queued_at: datetime
    available_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """Why a queued job waits: how many are before it in its lane, and one sentence."""

    position: int
    reason: str


@dataclass(frozen=True)
class Result:
    """What a job came to."""

    attempt: int
    value: dict[str, Any]
    weights_sha256: str | None
    final_checkpoint: str | None
    created_at: datetime


@dataclass(frozen=True)
class Try:
    """One attempt, as its row stands."""

    attempt: int
    worker: str
    host: str
    started_at: datetime
    running_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    error_code: str | None
    error_message: str | None
    resumed_epoch: int | None


@dataclass(frozen=True)
class Artifact:
    """A file that a job left, as its row stands."""

    name: str
    attempt: int
    bytes: int
    sha256: str
    content_type: str
    created_at: datetime


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to; empty means all."""

    states: tuple[State, ...] = ()
    kinds: tuple[Kind, ...] = ()
    name: str | None = None
    lane: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


_COLUMNS = [jobs.c[name] for name in Job.__dataclass_fields__ if name != "tags"]
#: What a list reads: specs may be large, and pages are asked for often.
_LISTED = [column for column in _COLUMNS if column.name not in {"spec", "source", "numerics"}]
_TRIES = [attempts.c[name] for name in Try.__dataclass_fields__]


def _job(values: Mapping[str, Any], tags: dict[str, str]) -> Job:
    return Job(**{**values, "kind": Kind(values["kind"]), "state": State(values["state"])}, tags=tags)


def get(connection: Connection, job_id: str) -> Job:
    """Return one job; raise `NotFound`."""
    row = connection.execute(sa.select(*_COLUMNS).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return _job(dict(row._mapping), _tags(connection, [job_id]).get(job_id, {}))


def version(connection: Connection, job_id: str) -> int | None:
    """Return the number that changes with the job, or None without one: what pollers ask."""
    return connection.execute(sa.select(jobs.c.version).where(jobs.c.id == job_id)).scalar_one_or_none()


def require(connection: Connection, job_id: str) -> None:
    """Raise `NotFound` unless there is such a job."""
    if version(connection, job_id) is None:
        raise NotFound(f"There is no job {job_id}.")


def page(connection: Connection, *, where: Filter, before: str | None = None, limit: int = 50) -> list[Job]:
    """Return the newest jobs that match, those with ids below `before`: a keyset, not an offset.

    Without what may be large: `spec` is empty, `source` and `numerics` are None.
    """
    rows = connection.execute(page_query(where, before=before, limit=limit)).all()
    tags = _tags(connection, [row.id for row in rows])
    left_out: dict[str, Any] = {"spec": {}, "source": None, "numerics": None}
    return [_job({**row._mapping, **left_out}, tags.get(row.id, {})) for row in rows]


def page_query(where: Filter, *, before: str | None, limit: int) -> sa.Select[Any]:
    """Return the statement behind `page`."""
    query = sa.select(*_LISTED).where(*_conditions(where)).order_by(jobs.c.id.desc()).limit(limit)
    return query if before is None else query.where(jobs.c.id < before)


def _conditions(where: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [jobs.c.kind.not_in(INTERNAL), jobs.c.deleted_at.is_(None)]
    if where.states:
        found.append(jobs.c.state.in_(where.states))
    if where.kinds:
        found.append(jobs.c.kind.in_(where.kinds))
    if where.name is not None:
        found.append(jobs.c.name == where.name)
    if where.lane is not None:
        found.append(jobs.c.lane == where.lane)
    if where.created_after is not None:
        found.append(jobs.c.created_at >= where.created_after)
    if where.created_before is not None:
        found.append(jobs.c.created_at < where.created_before)
    for key, value in where.tags:
        tag = sa.select(job_tags.c.job_id).where(job_tags.c.key == key, job_tags.c.value == value)
        found.append(jobs.c.id.in_(tag))
    return found


def _tags(connection: Connection, job_ids: list[str]) -> dict[str, dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for row in connection.execute(sa.select(job_tags).where(job_tags.c.job_id.in_(job_ids)).order_by(job_tags.c.key)):
        tags.setdefault(row.job_id, {})[row.key] = row.value
    return tags


def waiting(connection: Connection, job: Job, *, lease_s: float) -> Waiting | None:
    """Say why a queued job waits; None for any other."""
    if job.state != State.QUEUED:
        return None
    before = sa.select(sa.func.count()).where(
        jobs.c.lane == job.lane,
        jobs.c.state == sa.literal_column("'queued'"),
        sa.tuple_(jobs.c.rank, jobs.c.id) < sa.tuple_(sa.literal(job.rank), sa.literal(job.id)),
    )
    position = connection.execute(before).scalar_one()
    delay = connection.execute(
        sa.select(clock.seconds(now(), jobs.c.available_at)).where(jobs.c.id == job.id)
    ).scalar_one()
    return Waiting(position, _reason(connection, job, position, delay, lease_s))


def _reason(connection: Connection, job: Job, position: int, delay_s: float, lease_s: float) -> str:
    if job.held:
        return "It is paused until somebody resumes it."
    if delay_s > 0:
        return f"It is tried again in {delay_s:.0f} s, after {job.failures} faults in a row."
    serving = [one for one in workers.alive(connection, within_s=lease_s) if job.lane in one.lanes]
    ready = [one for one in serving if one.state == "ready"]
    if not serving:
        return f"No worker serves lane '{job.lane}'. Start one, or submit to another lane."
    if not ready:
        return "The workers of its lane are starting or stopping."
    freest = max(one.free_memory_mb for one in ready)
    if freest < job.memory_mb:
        return f"It asks for {job.memory_mb} MB of memory; the freest worker has {freest} MB."
    if position:
        return f"{position} {'job is' if position == 1 else 'jobs are'} before it in lane '{job.lane}'."
    return "It is next: a slot is about to take it."


def result(connection: Connection, job_id: str) -> Result | None:
    """Return a job's result, or None while there is none."""
    columns = [results.c[name] for name in Result.__dataclass_fields__]
    row = connection.execute(sa.select(*columns).where(results.c.job_id == job_id)).one_or_none()
    return Result(**row._mapping) if row is not None else None


def tries(connection: Connection, job_id: str) -> list[Try]:
    """Return a job's attempts, the first one first."""
    query = sa.select(*_TRIES).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
    return [Try(**row._mapping) for row in connection.execute(query)]


def artifacts_of(connection: Connection, job_id: str) -> list[Artifact]:
    """Return the files that a job left, by name."""
    columns = [artifacts.c[name] for name in Artifact.__dataclass_fields__]
    query = sa.select(*columns).where(artifacts.c.job_id == job_id).order_by(artifacts.c.name)
    return [Artifact(**row._mapping) for row in connection.execute(query)]


def artifact(connection: Connection, job_id: str, name: str) -> tuple[StoredFile, str] | None:
    """Return an artifact's file and content type, or None."""
    row = connection.execute(
        sa.select(artifacts).where(artifacts.c.job_id == job_id, artifacts.c.name == name)
    ).one_or_none()
    return (StoredFile(row.path, row.bytes, row.sha256), row.content_type) if row is not None else None
