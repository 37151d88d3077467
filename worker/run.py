"""The supervisor: the life of one attempt, from its claim to its end. READ THIS FIRST.

    take → claim ─▶ hold the lease ─▶ start a runner ─▶ watch it ─▶ write how it ended
                                                          │
       what it says, its end, cancels, a lost lease, a shutdown, the limits of time, memory and progress

It runs in a thread of the worker and never imports Keras. One place decides how the attempt ended
(`watch.Watch.until_the_end`), one writes it (`Reporter.end`).
"""

import time

import psutil
import structlog

from shared import checkpoints, db, failpoints, jobs, log, store, uploads
from shared.checkpoints import Retention, Saved
from shared.failpoints import Point
from shared.jobs import Attempt
from shared.states import Failure, Lane
from shared.store import StoredFile
from shared.volume import usage
from worker import launch, runner_entry
from worker.host import Host
from worker.lease import Lease
from worker.report import Ending, FailedWith, Released, Reporter
from worker.watch import Watch
from worker.wire import Assignment, Resumable

#: Seconds between two tries to read from a database that is away.
_AWAY_S = 0.5

_log = log.get(__name__)


def take(host: Host, lane: Lane) -> int:
    """Run the best waiting jobs of a lane, one after another, until none is left; return how many.

    A bell that comes twice, late or for nothing finds nothing. The lanes that share the slot take
    turns, so that a long queue in one starves no other.
    """
    taken = 0
    lanes = _sharing(host, lane)
    while not host.draining.is_set():
        served = next((one for one in lanes if _take_one(host, one)), None)
        if served is None:
            break
        taken += 1
        lanes.append(lanes.pop(lanes.index(served)))
    return taken


def _sharing(host: Host, lane: Lane) -> list[Lane]:
    """Return the lanes that this worker serves with the same slots, `lane` first."""
    if lane == Lane.INTERACTIVE:
        return [lane]
    return [lane, *(one for one in host.settings.lanes if one not in {lane, Lane.INTERACTIVE})]


def _take_one(host: Host, lane: Lane) -> bool:
    attempt = _claim(host, lane)
    if attempt is None:
        return False
    # Where one job waited more may wait: the next free slot looks as well.
    host.slots.ring(lane)
    with structlog.contextvars.bound_contextvars(job_id=attempt.job_id, attempt=attempt.number):
        try:
            _supervise(host, attempt)
        finally:
            host.memory.promise(attempt.job_id, 0)
    return True


def _claim(host: Host, lane: Lane) -> Attempt | None:
    """Claim; a database or a volume that is away is no news here, since the bell rings again."""
    if not store.is_there(host.settings.volume_path):
        _log.warning("not claimed: the volume is not mounted", volume=str(host.settings.volume_path))
        return None
    attempt = None
    try:
        with host.claiming, db.write(host.engine) as connection:
            attempt = jobs.claim(
                connection,
                lane=lane,
                worker=host.name,
                host=host.hostname,
                free_memory_mb=host.memory.free_mb,
                lease_s=host.settings.lease_s,
            )
            if attempt is not None:
                host.memory.promise(attempt.job_id, attempt.memory_mb)
            return attempt
    except Exception as error:
        if attempt is not None:
            # Claimed, as far as anybody here knows, by nobody: a lost commit must keep no memory.
            host.memory.promise(attempt.job_id, 0)
        if not db.is_away(error):
            raise
        _log.warning("not claimed: the database is away", lane=lane)
        return None


def _supervise(host: Host, attempt: Attempt) -> None:
    """Run one claimed attempt to its end."""
    _log.info("attempt begins", kind=attempt.kind)
    failpoints.reach(Point.AFTER_CLAIM_BEFORE_START)
    with (
        host.beat.hold(attempt.job_id, attempt.number) as lease,
        Reporter(host.engine, lease, retention=_retention(attempt), volume=host.settings.volume_path) as reporter,
    ):
        ending = _run(host, attempt, lease, reporter)
        if ending is None:
            _log.warning("attempt abandoned: the lease is lost")
            return
        written = reporter.end(ending, give_up=lambda: time.monotonic() > host.drain_by)
        failpoints.reach(Point.AFTER_END_BEFORE_NEXT)
        _log.info("attempt ended", outcome=type(ending).__name__, written=written, **_details(ending))


def _retention(attempt: Attempt) -> Retention:
    kept = attempt.spec.get("checkpoint", {})
    disk_mb = attempt.spec.get("resources", {}).get("disk_mb")
    return Retention(kept.get("keep_best", 1), kept.get("keep_last", 2), disk_mb and disk_mb << 20)


def _details(ending: Ending) -> dict[str, str]:
    return {"code": ending.code, "reason": ending.message} if isinstance(ending, FailedWith) else {}


def _run(host: Host, attempt: Attempt, lease: Lease, reporter: Reporter) -> Ending | None:
    """Start a runner and watch it; it is gone when this returns. None: the lease is lost."""
    found = _found(host, attempt, lease)
    if found is None:
        return None if lease.lost else Released()
    try:
        running = launch.launch(runner_entry.main, _assignment(host, attempt, *found))
    except Exception:  # noqa: BLE001 - no runner, no attempt: whatever stood in the way is the machine's
        _log.exception("runner not started")
        return FailedWith(Failure.INTERNAL, "The runner could not be started; the worker's log says why.")
    try:
        return Watch(host, attempt, lease, reporter, running).until_the_end()
    except Exception:  # noqa: BLE001 - an attempt that nobody watches must not look as if it ran
        _log.exception("supervisor failed")
        return FailedWith(Failure.INTERNAL, "The supervisor failed; the worker's log says why.")
    finally:
        running.kill()


def _found(host: Host, attempt: Attempt, lease: Lease) -> tuple[list[Saved], int, dict[str, str]] | None:
    """Return the job's checkpoints, the bytes that the volume holds where these are limited, what uploads are called.

    Wait out an outage of the database; None when that takes too long.
    """
    while not lease.lost and not host.draining.is_set():
        try:
            with db.read(host.engine) as connection:
                used = 0 if host.settings.volume_max_mb is None else usage.used_bytes(connection)
                called = uploads.called(connection, attempt.job_id)
                return checkpoints.listed(connection, attempt.job_id), used, called
        except Exception as error:
            if not db.is_away(error):
                raise
            host.draining.wait(_AWAY_S)
    return None


def _resumable(attempt: Attempt, saved: list[Saved]) -> tuple[Resumable, ...]:
    """Return the checkpoints to go on from: the job's own, or that of the job whose training it goes on with."""
    own = tuple(Resumable(one.name, one.epoch, one.step, one.file) for one in saved)
    source = attempt.source or {}
    if source.get("resumes") is None:
        return own
    epoch, step = source["resumes"]
    return (*own, Resumable(source["checkpoint"], epoch, step, StoredFile(**source["file"]), inherited=True))


def _assignment(
    host: Host, attempt: Attempt, saved: list[Saved], used_bytes: int, called: dict[str, str]
) -> Assignment:
    settings = host.settings
    cores = psutil.cpu_count() or 1
    return Assignment(
        job_id=attempt.job_id,
        attempt=attempt.number,
        kind=attempt.kind,
        spec=attempt.spec,
        source=attempt.source,
        seed=attempt.seed,
        checkpoints=_resumable(attempt, saved),
        numerics=attempt.numerics,
        volume=str(settings.volume_path),
        threads=max(1, cores // settings.slots),
        datasets=str(settings.datasets) if settings.datasets else None,
        dataset_timeout_s=settings.dataset_timeout_s,
        site_packages=tuple(filter(None, settings.site_packages.replace(" ", "").split(","))),
        volume_max_bytes=settings.volume_max_bytes,
        volume_used_bytes=used_bytes,
        called=called,
    )
