"""Starting runners: one forkserver that has imported Keras and done nothing else, one child per attempt."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import psutil

from worker.wire import Assignment

_PRELOAD = ["worker.forkserver_preload"]
_context = multiprocessing.get_context("forkserver")


def start_forkserver() -> None:
    """Start the forkserver. Call once, from the main thread: its life hangs on the thread that starts it.

    Returns at once; the first child waits until Keras is imported. Should the forkserver die, the
    next launch starts another one from a thread of the pool, which lives as long as the worker.
    """
    _context.set_forkserver_preload(_PRELOAD)
    multiprocessing.forkserver.ensure_running()


@dataclass
class Running:
    """A runner process and the supervisor's end of its pipe."""

    process: ForkServerProcess
    connection: Connection

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.exitcode is not None

    def kill(self) -> None:
        """Kill the runner and what it started; return when the runner is gone."""
        if not self.gone:
            try:
                # It leads a group of its own, unless it is still on its first lines.
                os.killpg(self.process.pid or 0, signal.SIGKILL) if self.process.pid else None
            except (ProcessLookupError, PermissionError):
                self.process.kill()
        self.process.join()
        self.connection.close()

    def memory_mb(self) -> int:
        """Return the runner's resident memory without what it shares through files, MiB; 0 when it is gone."""
        try:
            info = psutil.Process(self.process.pid).memory_info()
        except psutil.Error:
            return 0
        return max(0, info.rss - getattr(info, "shared", 0)) >> 20


def launch(target: Callable[[Connection, Assignment], None], assignment: Assignment) -> Running:
    """Fork a runner from the warm forkserver."""
    ours, theirs = _context.Pipe(duplex=True)
    process = _context.Process(target=target, args=(theirs, assignment), daemon=True)
    process.start()
    theirs.close()
    return Running(process, ours)


def wait_until_warm(target: Callable[[Connection], None]) -> None:
    """Fork a child that says when Keras is there. Raise RuntimeError with what is wrong."""
    ours, theirs = _context.Pipe(duplex=True)
    process = _context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        problem = ours.recv_bytes().decode()
    except EOFError:
        problem = "the forkserver ended while it imported Keras; its error is in the worker's log"
    finally:
        process.join()
        ours.close()
    if problem:
        raise RuntimeError(problem)
