"""File systems of a test's own, which nobody else sees and which end with it."""

import ctypes
import subprocess
import threading
from contextlib import contextmanager

from tests.lacking import lacking

_CLONE_NEWNS = 0x20000


def in_own_mounts(test):
    """Run `test` on a thread with mounts of its own; processes that it starts share them. Needs root."""
    outcome = []

    def run():
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
                lacking("no right to make mounts")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            outcome.append(test())
        except BaseException as error:  # noqa: BLE001 - raised again where pytest sees it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def small_disk(path, size):
    """Mount an empty file system of so many bytes (`8m`) at `path`; for a thread with mounts of its own."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    return path


def remount(path, mode):
    """Make a file system read-only (`ro`) or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(path)], check=True)


@contextmanager
def full(path):
    """Leave no room on a file system for the length of a block."""
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()
