"""Starting runners: one forkserver that has imported Keras and done nothing else, one child per attempt."""

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import psutil

from worker.wire import Assignment

_PRELOAD = ["worker.forkserver_preload"]
_context = multiprocessing.get_context("forkserver")
#: Seconds within which a process that was killed is gone.
_GONE_S = 5.0
#: Held while a runner is forked: the forkserver's other children are none of ours.
_forking = threading.Lock()
#: Process ids of the children that were forked here and are not known to be gone.
_forked: set[int] = set()


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
    #: The process as it was when it began: its id may be another's once it is gone.
    _known: psutil.Process | None = field(init=False)

    def __post_init__(self) -> None:
        """Remember who has this process id now."""
        try:
            self._known = psutil.Process(self.process.pid)
        except psutil.NoSuchProcess:
            self._known = None

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.exitcode is not None

    def kill(self) -> None:
        """Kill the runner and all that it started; return when it is gone."""
        if not self._is_anothers:
            self._kill_group()
        self.process.join()
        self.connection.close()
        with _forking:
            _forked.discard(self.process.pid or 0)
            _kill_orphans()

    @property
    def _is_anothers(self) -> bool:
        """Whether the runner is gone and its process id was given to another process since."""
        pid_is_used = psutil.pid_exists(self.process.pid or 0)
        return pid_is_used and not (self._known is not None and self._known.is_running())

    def _kill_group(self) -> None:
        try:
            # It leads a group of its own, in which its children outlive it.
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if not self.gone:
                # It is still on its first lines, before it leads a group.
                self.process.kill()

    def memory_mb(self, limit_mb: int) -> int:
        """Return the memory that is the runner's own, MiB; 0 when it is gone.

        Below `limit_mb` a quick estimate from above does, which counts pages that it shares with its
        forkserver until one of them writes; above it, they are told apart.
        """
        if self._known is None:
            return 0
        try:
            quick = self._known.memory_info()
            estimate = max(0, quick.rss - getattr(quick, "shared", 0)) >> 20
            return estimate if estimate <= limit_mb else int(self._known.memory_full_info().uss) >> 20
        except psutil.Error:
            return 0


def launch(target: Callable[[Connection, Assignment], None], assignment: Assignment) -> Running:
    """Fork a runner from the warm forkserver."""
    ours, theirs = _context.Pipe(duplex=True)
    process = _fork(target, theirs, assignment)
    # Other threads' starts poll every known child, and two who read one exit status get it once:
    # this child is its supervisor's alone.
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]  # noqa: SLF001
    theirs.close()
    return Running(process, ours)


def _fork(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    process = _context.Process(target=target, args=arguments, daemon=True)
    with _forking:
        process.start()
        _forked.add(process.pid or 0)
    return process


def _kill_orphans() -> None:
    """Kill what runners that are gone have left behind, in whatever session: the forkserver has inherited it."""
    forkserver = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
    deadline = time.monotonic() + _GONE_S
    try:
        while (orphans := _orphans(psutil.Process(forkserver))) and time.monotonic() < deadline:
            for orphan in orphans:
                orphan.kill()
            psutil.wait_procs(orphans, timeout=_GONE_S)
    except psutil.NoSuchProcess:
        # Whoever was there is gone, the forkserver with all of its children included.
        return


def _orphans(forkserver: psutil.Process) -> list[psutil.Process]:
    return [child for child in forkserver.children() if child.pid not in _forked]


def wait_until_warm(target: Callable[[Connection], None]) -> None:
    """Fork a child that says when Keras is there. Raise RuntimeError with what is wrong."""
    ours, theirs = _context.Pipe(duplex=True)
    process = _fork(target, theirs)
    theirs.close()
    try:
        problem = ours.recv_bytes().decode()
    except EOFError:
        problem = "the forkserver ended while it imported Keras; its error is in the worker's log"
    finally:
        process.join()
        ours.close()
        _forked.discard(process.pid or 0)
    if problem:
        raise RuntimeError(problem)
