"""The supervisor: the life of one attempt, from its claim to its end. READ THIS FIRST.

    take → claim ─▶ hold the lease ─▶ start a runner ─▶ watch it ─▶ write how it ended
                                                          │
       what it says, its end, cancels, a lost lease, a shutdown, the limits of time, memory and progress

It runs in a thread of the worker and never imports Keras. One place decides how the attempt ended
(`Watch.until_the_end`), one writes it (`Reporter.end`).
"""

import math
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing import connection as pipes
from typing import Any

import psutil
import structlog
from sqlalchemy import Engine

from shared import checkpoints, db, jobs, log, store
from shared.checkpoints import Retention, Saved
from shared.jobs import Attempt
from shared.settings import Settings
from shared.states import CancelMode, Failure, Lane
from shared.version import VERSION
from worker import launch, runner_entry, wire
from worker.launch import Running
from worker.lease import Beat, Lease
from worker.report import Cancelled, Ending, FailedWith, Released, Reporter, Succeeded
from worker.slots import Slots
from worker.wire import Artifact, Assignment, Checkpointed, Failed, Finished, Resumable, Started, Stop, Stopped

#: Seconds between two looks at cancels, limits and the lease.
_LOOK_S = 0.2
#: Seconds between two samples of a runner's memory.
_SAMPLE_S = 0.5
#: Seconds that a runner may take to leave after it has said how it ended.
_FAREWELL_S = 5.0
#: Seconds between two tries to read from a database that is away.
_AWAY_S = 0.5
#: The part of a shutdown's time that is kept for writing how the attempts ended.
_KEPT_FOR_SQL = 0.2
#: MiB that a machine keeps for itself.
_RESERVE_MB = 256

_log = log.get(__name__)


class Host:
    """What all attempts on one worker share."""

    def __init__(self, settings: Settings, engine: Engine, name: str, hostname: str) -> None:
        """Serve `settings.lanes` under the unique `name`; call `open` when runners can start."""
        self.settings = settings
        self.engine = engine
        self.name = name
        self.hostname = hostname
        self.slots = Slots(settings.slots)
        self.ready = threading.Event()
        self.draining = threading.Event()
        #: When a shutdown must be over, by the monotonic clock; far away until one begins.
        self.drain_by = math.inf
        #: Held from the look at free memory until a job's share of it is promised.
        self.claiming = threading.Lock()
        self.beat = Beat(engine, name, lease_s=settings.lease_s, beat_s=settings.beat_s, about=self.about)

    @property
    def free_memory_mb(self) -> int:
        """Memory that no running job has been promised, MiB."""
        available = int(psutil.virtual_memory().available) >> 20
        return max(0, available - self.slots.promised_mb - _RESERVE_MB)

    def about(self) -> dict[str, Any]:
        """Return the worker's columns of the workers' table."""
        state = "draining" if self.draining.is_set() else "ready" if self.ready.is_set() else "warming"
        return {
            "host": self.hostname,
            "pid": psutil.Process().pid,
            "lanes": list(self.settings.lanes),
            "slots": self.settings.slots,
            "state": state,
            "free_memory_mb": self.free_memory_mb,
            "version": VERSION,
        }

    def drain(self) -> None:
        """Begin an orderly shutdown: running attempts checkpoint and release their jobs."""
        if not self.draining.is_set():
            self.drain_by = time.monotonic() + self.settings.drain_s
        self.draining.set()
        self.beat.tell()


def take(host: Host, lane: Lane) -> int:
    """Run the best waiting jobs of a lane, one after another, until none is left; return how many.

    Does nothing without a free slot: a bell that comes twice, late, or to a busy worker is harmless.
    The lanes that share the slot take turns, so that a long queue in one starves no other.
    """
    taken = 0
    lanes = _sharing(host, lane)
    with host.slots.take(lane) as free:
        while free and host.ready.is_set() and not host.draining.is_set():
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
    with structlog.contextvars.bound_contextvars(job_id=attempt.job_id, attempt=attempt.number):
        try:
            _supervise(host, attempt)
        finally:
            host.slots.promise(attempt.job_id, 0)
    return True


def _claim(host: Host, lane: Lane) -> Attempt | None:
    """Claim; a database or a volume that is away is no news here, since the bell rings again."""
    if not store.is_there(host.settings.volume_path):
        _log.warning("not claimed: the volume is not mounted", volume=str(host.settings.volume_path))
        return None
    try:
        with host.claiming, db.write(host.engine) as connection:
            attempt = jobs.claim(
                connection,
                lane=lane,
                worker=host.name,
                host=host.hostname,
                free_memory_mb=host.free_memory_mb,
                lease_s=host.settings.lease_s,
            )
            if attempt is not None:
                host.slots.promise(attempt.job_id, attempt.memory_mb)
            return attempt
    except Exception as error:
        if not db.is_away(error):
            raise
        _log.warning("not claimed: the database is away", lane=lane)
        return None


def _supervise(host: Host, attempt: Attempt) -> None:
    """Run one claimed attempt to its end."""
    _log.info("attempt begins", kind=attempt.kind)
    with host.beat.hold(attempt.job_id, attempt.number) as lease:
        kept = attempt.spec.get("checkpoint", {})
        retention = Retention(kept.get("keep_best", 1), kept.get("keep_last", 2))
        with Reporter(host.engine, lease, retention=retention, volume=host.settings.volume_path) as reporter:
            ending = _run(host, attempt, lease, reporter)
            if ending is None:
                _log.warning("attempt abandoned: the lease is lost")
                return
            written = reporter.end(ending, give_up=lambda: time.monotonic() > host.drain_by)
            _log.info("attempt ended", outcome=type(ending).__name__, written=written, **_details(ending))


def _details(ending: Ending) -> dict[str, str]:
    return {"code": ending.code, "reason": ending.message} if isinstance(ending, FailedWith) else {}


def _run(host: Host, attempt: Attempt, lease: Lease, reporter: Reporter) -> Ending | None:
    """Start a runner and watch it; it is gone when this returns. None: the lease is lost."""
    saved = _saved(host, attempt, lease)
    if saved is None:
        return None if lease.lost else Released()
    try:
        running = launch.launch(runner_entry.main, _assignment(host, attempt, saved))
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


def _saved(host: Host, attempt: Attempt, lease: Lease) -> list[Saved] | None:
    """Return the job's checkpoints, waiting out an outage of the database; None when that takes too long."""
    while not lease.lost and not host.draining.is_set():
        try:
            with db.read(host.engine) as connection:
                return checkpoints.listed(connection, attempt.job_id)
        except Exception as error:
            if not db.is_away(error):
                raise
            host.draining.wait(_AWAY_S)
    return None


def _assignment(host: Host, attempt: Attempt, saved: list[Saved]) -> Assignment:
    settings = host.settings
    cores = psutil.cpu_count() or 1
    return Assignment(
        job_id=attempt.job_id,
        attempt=attempt.number,
        kind=attempt.kind,
        spec=attempt.spec,
        source=attempt.source,
        seed=attempt.seed,
        checkpoints=tuple(Resumable(one.name, one.epoch, one.step, one.file) for one in saved),
        numerics=attempt.numerics,
        volume=str(settings.volume_path),
        threads=max(1, cores // settings.slots),
        datasets=str(settings.datasets) if settings.datasets else None,
        dataset_timeout_s=settings.dataset_timeout_s,
        site_packages=tuple(filter(None, settings.site_packages.replace(" ", "").split(","))),
    )


@dataclass
class _Limits:
    """What a job may take, and what it has taken."""

    memory_mb: int
    time_limit_s: float | None
    stall_limit_s: float

    @classmethod
    def of(cls, attempt: Attempt) -> "_Limits":
        asked = attempt.spec.get("resources", {})
        return cls(attempt.memory_mb, asked.get("time_limit_s"), asked.get("stall_limit_s", 600.0))


class Watch:
    """Watches one runner: hears it, passes on what is asked of it, and ends it when it must."""

    def __init__(self, host: Host, attempt: Attempt, lease: Lease, reporter: Reporter, running: Running) -> None:
        """Watch `running`, which runs `attempt`."""
        self._host = host
        self._attempt = attempt
        self._lease = lease
        self._reporter = reporter
        self._running = running
        self._inbox = wire.Inbox(running.connection)
        self._started = False
        self._limits = _Limits.of(attempt)
        self._began = self._sign = time.monotonic()
        self._sampled = 0.0
        self._asked: list[str] = []

    def until_the_end(self) -> Ending | None:
        """Return how the attempt ended; its process is gone then. None: the lease is lost."""
        while True:
            ending = self._hear() or self._look()
            if self._lease.lost:
                return None
            if ending is not None:
                self._running.kill()
                return ending

    # --- what the runner says ---

    def _hear(self) -> Ending | None:
        """Take what the runner says, waiting a little; return its end when that came."""
        running = self._running
        if self._reporter.full:
            # The database is behind: the runner waits, and its silence is not its own.
            self._sign = time.monotonic()
            time.sleep(_LOOK_S)
            return None
        ready = pipes.wait([running.connection, running.process.sentinel], timeout=_LOOK_S)
        if running.connection in ready:
            return self._read()
        return self._crashed() if ready else None

    def _read(self) -> Ending | None:
        try:
            messages = self._inbox.read()
        except EOFError:
            return self._crashed()
        except wire.WireError as error:
            return FailedWith(Failure.INTERNAL, f"The runner said what is no message: {error}.")
        for message, size in messages:
            if ending := self._take(message, size):
                return ending
        return None

    def _take(self, message: wire.Message, size: int) -> Ending | None:
        self._sign = time.monotonic()
        match message:
            case Finished():
                self._wait_for_farewell()
                return Succeeded(message)
            case Stopped(mode):
                self._wait_for_farewell()
                return self._stopped(mode)
            case Failed(code, sentence):
                return FailedWith(code, sentence)
            case Stop():
                return FailedWith(Failure.INTERNAL, "The runner sent a supervisor's message.")
            case Checkpointed() | Artifact() if not self._owns(message.file.path):
                return FailedWith(Failure.INTERNAL, "The runner named a file that is not its attempt's.")
            case Started() if self._started:
                return FailedWith(Failure.INTERNAL, "The runner said twice that it has started.")
            case Started():
                self._started = True
                self._began = self._sign
        self._reporter.put(message, size)
        return None

    def _stopped(self, mode: str) -> Ending:
        if mode not in self._asked:
            return FailedWith(Failure.INTERNAL, "The runner stopped without being asked to.")
        return Cancelled() if self._lease.cancel else Released()

    def _owns(self, path: str) -> bool:
        """Whether a path of the runner's lies in its attempt's folder: rows make files exist, and vanish."""
        folder = store.attempt_folder(self._attempt.job_id, self._attempt.number) + "/"
        return path.startswith(folder) and store.is_relative(path)

    def _wait_for_farewell(self) -> None:
        self._running.process.join(_FAREWELL_S)

    def _crashed(self) -> Ending:
        """Return what the exit status of a runner that is gone without a word says."""
        self._running.process.join(_FAREWELL_S)
        if self._host.draining.is_set():
            # Whoever ends the worker may have ended all of its processes at once.
            return Cancelled() if self._lease.cancel else Released()
        status = self._running.process.exitcode
        if status is not None and status < 0:
            what = f"was killed by signal {-status} ({_signal_name(-status)})"
        else:
            what = f"ended with status {status}"
        return FailedWith(Failure.CRASHED, f"The runner {what} before it had finished.")

    # --- what others want, and the limits ---

    def _look(self) -> Ending | None:
        """Return the end that somebody or something imposes, or None."""
        return self._wishes() or self._time() or self._memory()

    def _wishes(self) -> Ending | None:
        if self._lease.cancel == CancelMode.NOW:
            return Cancelled()
        if not self._host.draining.is_set():
            if self._lease.cancel == CancelMode.AFTER_EPOCH:
                self._ask("after_epoch")
            return None
        # A shutdown does not wait for an epoch's end, even where a cancel would.
        self._ask("release")
        if time.monotonic() > self._host.drain_by - _KEPT_FOR_SQL * self._host.settings.drain_s:
            return Cancelled() if self._lease.cancel else Released()
        return None

    def _ask(self, mode: str) -> None:
        """Ask the runner to stop, once for each mode."""
        if mode in self._asked:
            return
        self._asked.append(mode)
        try:
            wire.send(self._running.connection, Stop(mode))
        except OSError:
            _log.info("the runner is gone; its end is about to be heard")

    def _time(self) -> Ending | None:
        now = time.monotonic()
        limit = self._limits.time_limit_s
        if limit is not None and self._attempt.run_s + now - self._began > limit:
            return FailedWith(Failure.TIMEOUT, f"The job ran for longer than its time_limit_s of {limit:g} s.")
        if now - self._sign > self._limits.stall_limit_s and not self._reporter.full:
            stalled = f"No step was finished for {self._limits.stall_limit_s:g} s (resources.stall_limit_s)."
            return FailedWith(Failure.STALLED, stalled)
        return None

    def _memory(self) -> Ending | None:
        now = time.monotonic()
        if now - self._sampled < _SAMPLE_S:
            return None
        self._sampled = now
        used = self._running.memory_mb(self._limits.memory_mb)
        self._host.slots.promise(self._attempt.job_id, self._limits.memory_mb - used)
        if used <= self._limits.memory_mb:
            return None
        asked = self._limits.memory_mb
        advice = "Ask for more, or reduce batch_size."
        sentence = f"The job used {used} MB of memory; it asked for memory_mb {asked}. {advice}"
        return FailedWith(Failure.OOM_HOST, sentence)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
