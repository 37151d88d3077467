"""What the runner says, written to SQL: in batches, each behind the fence, waiting out an outage.

One thread per attempt. Messages wait in a bounded queue while the database is away, and training
goes on; when the queue is full the supervisor stops reading and training waits. A batch whose
commit got no answer is written again under the same number, which the fence knows.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine

from shared import attempts, checkpoints, db, events, failpoints, jobs, log, metrics, store
from shared.checkpoints import Retention
from shared.errors import LeaseLost
from shared.failpoints import Point
from shared.states import Failure
from worker.lease import Lease
from worker.wire import Artifact, Checkpointed, Epoch, Finished, Progress, Resumed, Started

#: Messages, and bytes of messages, that may wait for the database; an epoch is one or two of some hundred bytes.
WAITING = 20_000
WAITING_BYTES = 64 << 20
#: Messages of one transaction, at most.
BATCH = 500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
#: Seconds between two writes of mere progress.
_PROGRESS_S = 0.5
#: Seconds between two looks at whether a shutdown must end.
_LOOK_S = 0.2

_log = log.get(__name__)


@dataclass(frozen=True)
class Succeeded:
    """The attempt's end: a result."""

    finished: Finished


@dataclass(frozen=True)
class Cancelled:
    """The attempt's end: as somebody asked; the process is gone."""


@dataclass(frozen=True)
class Released:
    """The attempt's end: the job goes back, for a pause or because the worker shuts down."""


@dataclass(frozen=True)
class FailedWith:
    """The attempt's end: a failure class and a sentence."""

    code: Failure
    message: str


Ending = Succeeded | Cancelled | Released | FailedWith
_Said = Started | Resumed | Epoch | Checkpointed | Artifact | Ending


class Reporter:
    """Writes for one attempt. Use as a context manager: leaving it ends the thread."""

    def __init__(self, engine: Engine, lease: Lease, *, retention: Retention, volume: Path) -> None:
        """Write to `engine` while `lease` holds."""
        self._engine = engine
        self._lease = lease
        self._retention = retention
        self._volume = volume
        self._queue: queue.SimpleQueue[tuple[_Said, int]] = queue.SimpleQueue()
        #: Bytes that wait; a count alone would let large messages fill the worker's memory.
        self._waiting_bytes = 0
        self._counting = threading.Lock()
        self._progress: Progress | None = None
        self._written = 0
        #: Files that the batch of that number makes superfluous, known before its commit is.
        self._stale: list[str] = []
        #: Why the job may write no more: what cannot be dropped of it is more than it may leave.
        self.over: str | None = None
        self._ended = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"report {lease.job_id}", daemon=True)

    def __enter__(self) -> Self:
        """Start to write."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop writing; what is unwritten by now is another attempt's business."""
        self._abandoned.set()
        self._thread.join()

    @property
    def full(self) -> bool:
        """Whether the runner must wait."""
        return self._queue.qsize() >= WAITING or self._waiting_bytes >= WAITING_BYTES

    def put(self, message: _Said | Progress, size: int = 0) -> None:
        """Take a message of so many bytes; never blocks: the caller asks `full` before it reads one."""
        if isinstance(message, Progress):
            self._progress = message
            return
        with self._counting:
            self._waiting_bytes += size
        self._queue.put((message, size))

    def end(self, ending: Ending, *, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Write how the attempt ended, after all before it; return whether it is written.

        Waits out an outage of the database until `give_up` says so (a shutdown that must end). False
        as well when the lease is lost.
        """
        self.put(ending)
        while not self._ended.wait(_LOOK_S) and not give_up():
            pass
        return self._ended.is_set() and not self._lease.lost

    def _run(self) -> None:
        try:
            while not self._ended.is_set() and not self._abandoned.is_set():
                self._write(self._next())
        except LeaseLost:
            self._lease.lost = True
            _log.warning(
                "lease lost; another attempt owns the job", job_id=self._lease.job_id, attempt=self._lease.attempt
            )
        except Exception:  # noqa: BLE001 - nobody else would hear of it
            _log.exception("report failed", job_id=self._lease.job_id, attempt=self._lease.attempt)
            self._end_as_internal()
            self._lease.lost = True
        finally:
            self._ended.set()

    def _end_as_internal(self) -> None:
        """End the attempt although what it said could not be written: under the number of the failed batch."""
        sentence = "What the job reported could not be stored; the worker's log says why."
        try:
            self._transact([FailedWith(Failure.INTERNAL, sentence)], None)
        except Exception:  # noqa: BLE001 - the reaper takes the job back then
            _log.exception("the end was not written either", job_id=self._lease.job_id)

    def _next(self) -> list[_Said]:
        """Wait a little for messages; return all that are there, up to a batch."""
        batch: list[_Said] = []
        size = 0
        try:
            while len(batch) < BATCH:
                message, bytes_ = self._queue.get(timeout=0 if batch else _PROGRESS_S)
                batch.append(message)
                size += bytes_
        except queue.Empty:
            pass
        with self._counting:
            self._waiting_bytes -= size
        return batch

    def _write(self, batch: list[_Said]) -> None:
        """Write one batch, however long the database is away."""
        progress, self._progress = self._progress, None
        if not batch and progress is None:
            return
        self._written += 1
        pause = _FIRST_PAUSE_S
        while not self._abandoned.is_set():
            try:
                self._transact(batch, progress)
            except LeaseLost:
                raise
            except Exception as error:
                if not db.is_away(error):
                    raise
                _log.warning("database away; waiting", job_id=self._lease.job_id, error=str(error).split("\n", 1)[0])
                self._abandoned.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                self._remove(self._stale)
                if batch and isinstance(batch[-1], Ending):
                    self._ended.set()
                return

    def _remove(self, paths: list[str]) -> None:
        """Remove files that no row names; one that cannot be removed harms nobody."""
        for path in paths:
            try:
                store.remove(self._volume, path)
            except OSError as error:
                _log.warning("file not removed", path=path, error=str(error))

    def _transact(self, batch: list[_Said], progress: Progress | None) -> None:
        """Write a batch in one transaction, unless an earlier try did; `_stale` is what is superfluous after it."""
        job_id, attempt = self._lease.job_id, self._lease.attempt
        values = {"progress": _finite(asdict(progress))} if progress else {}
        with db.write(self._engine) as connection:
            if jobs.fence(connection, job_id, attempt, batch=self._written, **values):
                self._stale = []
                said: list[tuple[str, dict[str, Any]]] = []
                for message in batch:
                    if isinstance(message, Ending):
                        events.append(connection, job_id, said)
                        said = []
                    self._stale += self._apply(connection, message, said)
                events.append(connection, job_id, said)
            if any(isinstance(message, Epoch) for message in batch):
                failpoints.reach(Point.IN_EPOCH_TX_BEFORE_COMMIT)
        if batch:
            failpoints.reach(Point.AFTER_COMMIT_LOST_REPLY)

    def _apply(self, connection: Connection, message: _Said, said: list[tuple[str, dict[str, Any]]]) -> list[str]:
        job_id, attempt = self._lease.job_id, self._lease.attempt
        match message:
            case Started():
                attempts.started(connection, job_id, attempt, message.numerics)
            case Resumed():
                return self._resume(connection, message, said)
            case Epoch():
                metrics.record(connection, job_id, attempt, message.epoch, message.metrics)
                said.append(
                    ("epoch", {"epoch": message.epoch, "attempt": attempt, "metrics": _finite(message.metrics)})
                )
            case Checkpointed():
                return self._checkpoint(connection, message, said) + self._fit(connection)
            case Artifact():
                stale = attempts.add_artifact(
                    connection,
                    job_id,
                    attempt,
                    name=message.name,
                    content_type=message.content_type,
                    **asdict(message.file),
                )
                return stale + self._fit(connection)
            case _:
                self._end(connection, message)
        return []

    def _resume(self, connection: Connection, message: Resumed, said: list[tuple[str, dict[str, Any]]]) -> list[str]:
        """Make void what an earlier attempt wrote past the point from which this one goes on."""
        job_id, attempt = self._lease.job_id, self._lease.attempt
        metrics.delete_from(connection, job_id, message.epoch)
        if message.step:
            attempts.resumed(connection, job_id, attempt, message.epoch)
        if message.step or message.skipped:
            data = {"attempt": attempt, "epoch": message.epoch, "step": message.step, "skipped": list(message.skipped)}
            said.append(("resumed", data))
        return checkpoints.delete_after(connection, job_id, message.step)

    def _checkpoint(
        self, connection: Connection, message: Checkpointed, said: list[tuple[str, dict[str, Any]]]
    ) -> list[str]:
        job_id, attempt = self._lease.job_id, self._lease.attempt
        row = {
            "name": message.name,
            "epoch": message.epoch,
            "step": message.step,
            **asdict(message.file),
            "weights_sha256": message.weights_sha256,
            "monitor": message.monitor,
            "value": message.value,
        }
        stale = checkpoints.record(
            connection, job_id, attempt, row, greater=message.greater_is_better, keep=self._retention
        )
        attempts.progressed(connection, job_id, message.step)
        said.append(
            ("checkpoint", {"name": message.name, "epoch": message.epoch, "step": message.step, "attempt": attempt})
        )
        return stale

    def _fit(self, connection: Connection) -> list[str]:
        """Keep the job within what it may leave; say so where that cannot be."""
        most = self._retention.most_bytes
        if most is None:
            return []
        stale, least = checkpoints.fit(connection, self._lease.job_id, most)
        if least > most:
            self.over = (
                f"The job's newest checkpoint and its artifacts take {least / (1 << 20):,.1f} MB; resources.disk_mb "
                f"allows {most >> 20:,}. Ask for more, or let callbacks write less."
            )
        return stale

    def _end(self, connection: Connection, ending: Ending) -> None:
        job_id, attempt = self._lease.job_id, self._lease.attempt
        match ending:
            case Succeeded(done):
                jobs.succeed(
                    connection,
                    job_id,
                    attempt,
                    value=_finite(done.value),
                    weights_sha256=done.weights_sha256,
                    final_checkpoint=done.final_checkpoint,
                )
            case Cancelled():
                jobs.cancelled(connection, job_id, attempt)
            case Released():
                jobs.release(connection, job_id, attempt)
            case FailedWith(code, sentence):
                jobs.fail(connection, job_id, attempt, code, sentence)


def _finite(value: Any) -> Any:
    """Return a JSON value in which NaN and the infinities are null: JSON has no word for them."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
