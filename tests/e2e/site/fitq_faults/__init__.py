"""A site's package, imported in the runner only: makes jobs misbehave as their tag `fault` says."""

import ctypes
import os
import subprocess
import sys
import time

from worker.training import kinds

_train = kinds.ACTIONS["train"]


def _segfault():
    ctypes.string_at(0)


def _hang():
    time.sleep(3600)


def _hog():
    block = bytearray(1500 << 20)
    time.sleep(3600)
    return block


def _exit():
    os._exit(0)


def _spawn():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    time.sleep(3600)


FAULTS = {"segfault": _segfault, "hang": _hang, "hog": _hog, "exit": _exit, "spawn": _spawn}


def _faulty(assignment, report):
    fault = assignment.spec.get("tags", {}).get("fault")
    if fault is not None:
        FAULTS[fault]()
    return _train(assignment, report)


kinds.ACTIONS["train"] = _faulty
