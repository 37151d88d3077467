"""A site's package, imported in the runner only: makes jobs misbehave as their tag `fault` says."""

import contextlib
import ctypes
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import tensorflow as tf

from worker import runner
from worker.training import kinds
from worker.training.pulse import Pulse

_train = kinds.ACTIONS["train"]


def _segfault():
    ctypes.string_at(0)


def _hang():
    time.sleep(3600)


def _hog():
    block = bytearray(1500 << 20)
    time.sleep(3600)
    return block


def _exhaust():
    """Have TensorFlow ask for more memory than a process can address."""
    tf.fill([1 << 46], 1.0)


def _exhaust_gpu():
    """Say what TensorFlow says when it is a GPU's memory that is full."""
    said = "OOM when allocating tensor with shape[8192,8192] and type float on /device:GPU:0 by allocator GPU_0_bfc"
    raise tf.errors.ResourceExhaustedError(None, None, said)


def _kill():
    """End as by the kernel's own choice when the machine's memory is full."""
    os.kill(os.getpid(), signal.SIGKILL)


def _hoard():
    """Hog memory once three epochs are done and kept, while there is a file `hoarding`."""
    enter = Pulse.phase

    def phase(self, name, *, epoch=0, **where):
        enter(self, name, epoch=epoch, **where)
        if epoch >= 3 and (Path(os.environ["FITQ_HOME"]) / "hoarding").exists():
            _hog()

    Pulse.phase = phase


def _exit():
    os._exit(0)


def _spawn():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    time.sleep(3600)


def _abort():
    os.abort()


def _bus():
    os.kill(os.getpid(), signal.SIGBUS)


def _gil():
    """Hang with the interpreter's lock held: no thread of this process runs any more."""
    ctypes.PyDLL(None).sleep(3600)


def _flood():
    """Print ten megabytes a second for three seconds, past a limit of one."""
    runner.LOG_BYTES = 1 << 20
    for _ in range(300):
        sys.stdout.write("x" * 99_999 + "\n")
        time.sleep(0.01)


def _doze():
    """Do nothing, with the interpreter's lock held, for longer than three leases; then train."""
    ctypes.PyDLL(None).sleep(10)


def _operation():
    """Stay in one operation of TensorFlow for ever."""
    started = tf.constant(0, tf.int64)
    forever = tf.function(lambda: tf.while_loop(lambda _: True, lambda count: (count + 1,), [started]))
    forever.get_concrete_function()
    (Path(os.environ["FITQ_HOME"]) / "in operation").touch()
    forever()


def _xla():
    """Have XLA compile what takes it minutes."""

    @tf.function(jit_compile=True)
    def large(x):
        for _ in range(4000):
            x = tf.sin(x) @ tf.cos(x)
        return x

    x = tf.ones((8, 8))
    large.get_concrete_function(x)
    (Path(os.environ["FITQ_HOME"]) / "in xla").touch()
    large(x)


def _threads():
    """Start threads without end, under the limit that an operator has set for processes like this one."""
    Path("/sys/fs/cgroup/pids/fitq-test/cgroup.procs").write_text(str(os.getpid()))
    while True:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


FAULTS = {name[1:]: fault for name, fault in globals().copy().items() if inspect.isfunction(fault)}


def _hold(phase):
    """Stay in a phase for ever, while there is a file `holding`; say so by a file of the phase's name."""
    home = Path(os.environ["FITQ_HOME"])
    if (home / "holding").exists():
        (home / f"held in {phase}").touch()
        time.sleep(3600)


def _hold_in(wanted):
    enter = Pulse.phase

    def phase(self, name, **where):
        enter(self, name, **where)
        if name == wanted:
            _hold(name)

    Pulse.phase = phase


def _faulty(assignment, report):
    tags = assignment.spec.get("tags", {})
    if "fault" in tags:
        FAULTS[tags["fault"]]()
    if "hold" in tags:
        _hold_in(tags["hold"])
    ended = _train(assignment, report)
    if tags.get("hold") == "ending":
        _hold("ending")
    return ended


with contextlib.suppress(FileNotFoundError):
    # Of the runners that import this, one stays here.
    (Path(os.environ["FITQ_HOME"]) / "hold an import").unlink()
    _hold("importing")


kinds.ACTIONS["train"] = _faulty
