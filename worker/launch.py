"""Starting runners: one forkserver that has imported Keras and done nothing else, one child per attempt."""

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
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
        try:
            # It leads a group of its own, in which its children outlive it.
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if not self.gone:
                # It is still on its first lines, before it leads a group.
                self.process.kill()
        self.process.join()
        self.connection.close()

    def memory_mb(self, limit_mb: int) -> int:
        """Return the memory that is the runner's own, MiB; 0 when it is gone.

        Below `limit_mb` a quick estimate from above does, which counts pages that it shares with its
        forkserver until one of them writes; above it, they are told apart.
        """
        try:
            process = psutil.Process(self.process.pid)
            quick = process.memory_info()
            estimate = max(0, quick.rss - getattr(quick, "shared", 0)) >> 20
            return estimate if estimate <= limit_mb else int(process.memory_full_info().uss) >> 20
        except psutil.Error:
            return 0


def launch(target: Callable[[Connection, Assignment], None], assignment: Assignment) -> Running:
    """Fork a runner from the warm forkserver."""
    ours, theirs = _context.Pipe(duplex=True)
    process = _context.Process(target=target, args=(theirs, assignment), daemon=True)
    process.start()
    # Other threads' starts poll every known child, and two who read one exit status get it once:
    # this child is its supervisor's alone.
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]  # noqa: SLF001
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
