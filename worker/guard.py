"""Preloaded first into the forkserver: ties it, and each runner, to the life of its parent.

Left to itself, multiprocessing's forkserver and its children survive a `kill -9` of the worker. So
the forkserver leaves the worker's session (Ctrl-C is not for it), and asks the kernel for a SIGKILL
when the worker dies; a runner asks for the same when the forkserver dies. What a runner's own
children leave behind is handed up to the forkserver, where the worker finds it (`launch.Running.kill`).
Imports nothing heavy: it must be in force before the long import of Keras.
"""

import ctypes
import os
import signal
import sys
import warnings

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

#: The process that imported this module: in a runner, its forkserver.
FORKSERVER_PID = os.getpid()


def hide_environment() -> None:
    """Close this process's environment and memory to others of its user: it was started with credentials."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Ask for SIGKILL when the thread that started this process ends (Linux; elsewhere pipes tell)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of what is orphaned below this process, however it left its session (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _ignore_requests() -> None:
    """Leave orderly ends to the worker: a service manager may signal every process at once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def guard_forkserver() -> None:
    """Leave the worker's session, ignore what asks the worker to end, die with it."""
    os.setsid()
    _ignore_requests()
    _adopt_orphans()
    # It reaps the orphans, too, and would wonder each time.
    warnings.filterwarnings("ignore", "forkserver: waitpid")
    die_with_parent()


def guard_runner() -> None:
    """Lead a process group of one's own, die with the forkserver; called first of all in a runner."""
    os.setsid()
    _ignore_requests()
    _adopt_orphans()
    die_with_parent()
    if os.getppid() != FORKSERVER_PID:
        # It died between the fork and the request above.
        os._exit(1)
