"""The watch over one runner: hears it, passes on what is asked of it, ends it when it must.

`Watch.until_the_end` is the one place that decides how an attempt ended. It trusts nothing that the
runner says, and waits for nothing but the clock: a runner that is frozen in mid-message is
cancelled, limited and drained like any other.
"""

import select
import signal
import time
from dataclasses import dataclass
from multiprocessing import connection as pipes

from shared import log, names, store
from shared.jobs import Attempt
from shared.states import CancelMode, Failure
from worker import wire
from worker.host import Host
from worker.launch import Running
from worker.lease import Lease
from worker.report import Cancelled, Ending, FailedWith, Released, Reporter, Succeeded
from worker.wire import Artifact, Checkpointed, Failed, Finished, Save, Started, Stop, Stopped

#: Seconds between two looks at cancels, limits and the lease.
_LOOK_S = 0.2
#: Seconds between two samples of a runner's memory.
_SAMPLE_S = 0.5
#: Seconds that a runner may take to leave after it has said how it ended.
_FAREWELL_S = 5.0
#: The part of a shutdown's time that is kept for writing how the attempts ended.
_KEPT_FOR_SQL = 0.2

_log = log.get(__name__)


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
        #: Checkpoints that were asked for and passed on; what an earlier attempt was asked for is done or void.
        self._saves = attempt.saves_asked

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
            # The database is behind: the runner waits. Neither its silence nor this time is its own.
            began = time.monotonic()
            time.sleep(_LOOK_S)
            self._sign = time.monotonic()
            self._began += self._sign - began
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
            case Stop() | Save():
                return FailedWith(Failure.INTERNAL, "The runner sent a supervisor's message.")
            case Checkpointed() | Artifact() if not self._owns(message.file.path):
                return FailedWith(Failure.INTERNAL, "The runner named a file that is not its attempt's.")
            case Artifact() if not names.is_name(message.name):
                return FailedWith(Failure.INTERNAL, "The runner left a file under a name that is none.")
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
        return Cancelled() if self._lease.wishes.cancel else Released()

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
            return Cancelled() if self._lease.wishes.cancel else Released()
        status = self._running.process.exitcode
        if status is not None and status < 0:
            what = f"was killed by signal {-status} ({_signal_name(-status)})"
        else:
            what = f"ended with status {status}"
        return FailedWith(Failure.CRASHED, f"The runner {what} before it had finished.")

    # --- what others want, and the limits ---

    def _look(self) -> Ending | None:
        """Return the end that somebody or something imposes, or None."""
        return self._wishes() or self._time() or self._memory() or self._disk()

    def _wishes(self) -> Ending | None:
        wishes = self._lease.wishes
        if wishes.cancel == CancelMode.NOW:
            return Cancelled()
        if not self._host.draining.is_set():
            if wishes.cancel == CancelMode.AFTER_EPOCH:
                self._ask("after_epoch")
            elif wishes.pause:
                self._ask("release")
            elif wishes.saves > self._saves and self._is_heard():
                self._saves = wishes.saves
                self._send(Save())
            return None
        # A shutdown does not wait for an epoch's end, even where a cancel would.
        self._ask("release")
        if time.monotonic() > self._host.drain_by - _KEPT_FOR_SQL * self._host.settings.drain_s:
            return Cancelled() if self._lease.wishes.cancel else Released()
        return None

    def _ask(self, mode: str) -> None:
        """Ask the runner to stop, once for each mode."""
        if mode in self._asked:
            return
        self._asked.append(mode)
        self._send(Stop(mode))

    def _is_heard(self) -> bool:
        """Whether there is room to say something more to the runner: the supervisor waits for nothing but the clock."""
        looked = select.poll()
        looked.register(self._running.connection.fileno(), select.POLLOUT)
        return bool(looked.poll(0))

    def _send(self, message: Stop | Save) -> None:
        try:
            wire.send(self._running.connection, message)
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
        self._host.memory.promise(self._attempt.job_id, self._limits.memory_mb - used)
        if used <= self._limits.memory_mb:
            return None
        asked = self._limits.memory_mb
        advice = "Ask for more, or reduce batch_size."
        sentence = f"The job used {used} MB of memory; it asked for memory_mb {asked}. {advice}"
        return FailedWith(Failure.OOM_HOST, sentence)

    def _disk(self) -> Ending | None:
        return FailedWith(Failure.DISK_LIMIT, self._reporter.over) if self._reporter.over else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
