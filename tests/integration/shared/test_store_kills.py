"""Writers that are killed at any moment: what was said to be written is, and no name leads to half a file."""

import contextlib
import hashlib
import random
import subprocess
import sys

from shared import store
from shared.store import StoredFile

KILLS = 40
#: An attempt that writes one checkpoint after another, and says what it has written.
WRITER = """
import hashlib, itertools, os, sys
from pathlib import Path
from shared import store

volume, attempt = Path(sys.argv[1]), sys.argv[2]
for number in itertools.count():
    path = f"jobs/a/{attempt}/checkpoints/{number}.npz"
    content = os.urandom(1 << 18)
    digest = hashlib.sha256(content).digest()
    with store.writing(volume, path) as file:
        for begin in range(0, len(content), 4096):
            file.write(content[begin : begin + 4096])
        file.write(digest)
    file = store.describe(volume, path)
    print(file.path, file.bytes, file.sha256, flush=True)
"""


def is_whole(path):
    """Whether a file ends with the digest of what comes before: the writer came to its last byte."""
    content = path.read_bytes()
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def test_whenever_a_writer_is_killed_what_it_said_is_there_and_nothing_is_half_there(tmp_path):
    chosen = random.Random(5)
    left = 0
    for attempt in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline() for _ in range(chosen.randint(1, 3))]
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(chosen.random() * 0.02)
            writer.kill()
            lines += writer.stdout.readlines()

        for line in lines:
            path, size, sha256 = line.split()
            store.verify(tmp_path, StoredFile(path, int(size), sha256))
        folder = tmp_path / f"jobs/a/{attempt}/checkpoints"
        assert all(is_whole(path) for path in folder.glob("[0-9]*.npz"))
        left += len(list(folder.glob(".*.tmp")))
    assert left, "some were killed in the middle of a file"
