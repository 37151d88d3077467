"""Runners that behave badly: each is the main of a child process."""

import os
import signal
import struct
import subprocess
import sys
import time

from shared.store import StoredFile
from worker import guard, wire
from worker.wire import Artifact, Checkpointed, Failed, Finished, Progress, Started, Stopped


def _begin():
    guard.guard_runner()


def half_a_message(connection, assignment):
    _begin()
    os.write(connection.fileno(), struct.pack("!i", 1000) + b'["Ep')
    time.sleep(600)


def half_a_message_then_gone(connection, assignment):
    _begin()
    os.write(connection.fileno(), struct.pack("!i", 1000) + b'["Ep')
    os._exit(0)


def too_long(connection, assignment):
    _begin()
    os.write(connection.fileno(), struct.pack("!i", 1 << 30) + b'["Finished",')
    time.sleep(600)


def nonsense(connection, assignment):
    _begin()
    connection.send_bytes(b'["Failed", {"code": "nonsense", "message": "x"}]')
    time.sleep(600)


def a_pickle(connection, assignment):
    _begin()
    connection.send(Stopped("release"))
    time.sleep(600)


def stops_unasked(connection, assignment):
    _begin()
    wire.send(connection, Stopped("release"))
    time.sleep(600)


def starts_twice(connection, assignment):
    _begin()
    for _ in range(2):
        wire.send(connection, Started({}))
    time.sleep(600)


def names_anothers_file(connection, assignment):
    _begin()
    file = StoredFile("jobs/another/1/checkpoints/epoch-0.npz", 1, "0" * 64)
    wire.send(connection, Checkpointed("epoch-0", 1, 1, file, "0" * 64))
    time.sleep(600)


def climbs_out(connection, assignment):
    _begin()
    file = StoredFile(f"jobs/{assignment.job_id}/{assignment.attempt}/../../../secret", 1, "0" * 64)
    wire.send(connection, Artifact("a", "text/plain", file))
    time.sleep(600)


def calls_a_file_what_climbs(connection, assignment):
    _begin()
    file = StoredFile(f"jobs/{assignment.job_id}/{assignment.attempt}/files/1", 1, "0" * 64)
    wire.send(connection, Artifact("../../.bashrc", "text/plain", file))
    time.sleep(600)


def fails_with_a_long_word(connection, assignment):
    _begin()
    wire.send(connection, Failed("bad_data", "No\0 such\ud800 thing."))
    time.sleep(600)


def leaves_a_child(connection, assignment):
    _begin()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    wire.send(connection, Progress(f"{child.pid}"))
    wire.send(connection, Finished({"child": child.pid}))
    os._exit(0)


def leaves_a_daemon(connection, assignment):
    """Leave a process in a session of its own, whose parent has ended."""
    _begin()
    mine, daemons = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(daemons, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    os.wait()
    wire.send(connection, Progress(os.read(mine, 20).decode()))
    if assignment.seed:
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(600)


def dies_without_a_word(connection, assignment):
    _begin()
    os._exit(7)
