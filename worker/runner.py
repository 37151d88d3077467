"""The runner: the child process in which one attempt's Keras code runs.

It holds no credentials and knows no database: it gets an `Assignment`, and talks to its supervisor
over a pipe. The only importer of `training`.
"""

import errno
import importlib
import io
import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import tensorflow as tf
from setproctitle import setproctitle

from shared import failpoints, refs, store
from shared.errors import CheckpointCorrupt, FitqError
from shared.failpoints import Point
from shared.states import Failure
from worker import guard, wire
from worker.training import kinds, preload
from worker.wire import Assignment, Failed, Finished, Save, Stop, Stopped

#: Exit status of a runner that has said how it ended, and of one whose supervisor is gone.
_SAID, _ORPHAN = 0, 75
#: Bytes that an attempt may print, roughly: what comes after them is dropped.
LOG_BYTES = 64 << 20
#: Seconds between two looks at the log's size.
_LOOK_S = 0.5


def say_warm(connection: Connection) -> None:
    """Tell the worker that forked children have Keras; an empty message means that all is well."""
    guard.guard_runner()
    try:
        preload.assert_untouched()
    except RuntimeError as error:
        connection.send_bytes(str(error).encode())
    else:
        connection.send_bytes(b"")


class PipeReport:
    """The `Report` of training: a pipe to the supervisor, and a thread that hears it."""

    def __init__(self, connection: Connection) -> None:
        """Speak through `connection`; start to listen."""
        self._connection = connection
        self._stop: str | None = None
        self._save = threading.Event()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def say(self, message: wire.Message) -> None:
        """Send; wait while the supervisor is behind. Without a supervisor there is nothing left to do."""
        try:
            wire.send(self._connection, message)
        except OSError:
            os._exit(_ORPHAN)

    def stop_mode(self) -> str | None:
        """Return how the supervisor wants this to end, or None."""
        return self._stop

    def save_asked(self) -> bool:
        """Whether a checkpoint was asked for since the last question."""
        asked = self._save.is_set()
        if asked:
            self._save.clear()
        return asked

    def _listen(self) -> None:
        while True:
            try:
                message = wire.receive(self._connection)
            except (EOFError, wire.WireError):
                os._exit(_ORPHAN)
            if isinstance(message, Stop):
                self._stop = message.mode
            elif isinstance(message, Save):
                self._save.set()


def main(connection: Connection, assignment: Assignment) -> None:
    """Run one attempt and say how it ended; then leave at once, without TensorFlow's slow farewell."""
    guard.guard_runner()
    setproctitle(f"fitq runner {assignment.job_id} #{assignment.attempt}")
    report = PipeReport(connection)
    report.say(run(assignment, report))
    failpoints.reach(Point.AFTER_RESULT_BEFORE_EXIT)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_SAID)


class _Descriptor(io.FileIO):
    """A standard stream that drops what its disk has no room for: a job does not fail of its own words."""

    def write(self, data: Any) -> int:
        """Write, or pretend to."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _stream(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )


def _log_to(path: Path) -> None:
    """Send everything that is printed here, by Python or by C++, to the attempt's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    threading.Thread(target=_bound_log, name="log", daemon=True).start()


def _bound_log() -> None:
    """Drop what is printed once the log is full: a job that floods it must not fill the volume."""
    while os.fstat(1).st_size < LOG_BYTES:
        time.sleep(_LOOK_S)
    os.write(1, b"\nfitq: the log is full; nothing more is kept of it.\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def run(assignment: Assignment, report: PipeReport) -> Finished | Stopped | Failed:
    """Do what the job asks; turn every error into a failure class and a sentence."""
    try:
        _log_to(Path(assignment.volume) / store.log_path(assignment.job_id, assignment.attempt))
        for package in assignment.site_packages:
            importlib.import_module(package)
        action = kinds.ACTIONS[assignment.kind]
        return action(assignment, report)
    except FitqError as error:
        message = refs.told(error.message, assignment.called)
        sys.stderr.write(f"{error.code}: {message}\n")
        return Failed(_class_of(error), message)
    except tf.errors.ResourceExhaustedError as error:
        traceback.print_exc()
        return Failed(*_exhausted(error))
    except MemoryError:
        traceback.print_exc()
        return Failed(Failure.OOM_HOST, "The job needs more memory than the machine gives it.")
    except OSError as error:
        traceback.print_exc()
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return Failed(Failure.DISK_FULL, f"A file could not be written: {error}.")
        return Failed(Failure.INTERNAL, f"A file could not be read or written: {error}.")
    except Exception as error:  # noqa: BLE001 - the one place where whatever went wrong gets its class
        traceback.print_exc()
        return Failed(Failure.INTERNAL, f"{type(error).__name__}: {str(error)[:500]} (the log has the whole of it)")


def _class_of(error: FitqError) -> Failure:
    if isinstance(error, CheckpointCorrupt):
        # The job's own are passed over; this is the source's, and no attempt will find it whole.
        return Failure.BAD_DATA
    return Failure(error.code) if error.code in set(Failure) else Failure.INTERNAL


def _exhausted(error: tf.errors.ResourceExhaustedError) -> tuple[Failure, str]:
    if "GPU" in error.message:
        return Failure.OOM_GPU, "The GPU's memory is full: reduce batch_size or the model."
    return Failure.OOM_HOST, "Memory is full: reduce batch_size or the model, or ask for more memory_mb."
