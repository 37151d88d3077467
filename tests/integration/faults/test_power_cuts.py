"""A machine that loses its power at any moment: what SQLite's files hold then opens, and is a past that really was."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e import invariants

ROOT = Path(__file__).parents[3]
CUTS = 25

#: Lives of jobs, three at a time, each told when it is committed.
WRITER = """
import os, sys, threading
from shared import attempts, checkpoints, db, events, jobs, metrics, spec
from shared.checkpoints import Retention

engine = db.connect(sys.argv[1])
tiny = {"kind": "train", "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
        "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}}, "compile": {"loss": "mse"}}

def live():
    while True:
        with db.write(engine) as connection:
            jobs.submit(connection, spec.parse(tiny))
        with db.write(engine) as connection:
            taken = jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=600)
        job, number = taken.job_id, taken.number
        for epoch in range(3):
            with db.write(engine) as connection:
                jobs.fence(connection, job, number, batch=epoch + 1)
                metrics.record(connection, job, number, epoch, {"loss": 1.0})
                events.append(connection, job, [("epoch", {"epoch": epoch})])
        with db.write(engine) as connection:
            jobs.fence(connection, job, number, batch=4)
            jobs.succeed(connection, job, number, value={}, weights_sha256=None, final_checkpoint=None)
        os.write(1, f"{job}\\n".encode())

for _ in range(2):
    threading.Thread(target=live, daemon=True).start()
live()
"""


@pytest.fixture
def writer(sqlite_template, tmp_path):
    """A process that writes as fast as it can, and the file to which it says which jobs have ended."""
    (tmp_path / "live").mkdir()
    shutil.copy(sqlite_template, tmp_path / "live" / "fitq.db")
    said = tmp_path / "said"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, f"sqlite:///{tmp_path}/live/fitq.db"], env=environment, stdout=output
        )
    yield psutil.Process(process.pid), said
    process.kill()
    process.wait()


def cut(process, live, copy):
    """Copy the files as they are at one moment. The shared-memory file would not survive a power cut."""
    process.suspend()
    try:
        while process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        copy.mkdir()
        for name in ("fitq.db", "fitq.db-wal"):
            shutil.copy(live / name, copy / name)
    finally:
        process.resume()


def committed_bytes(wal):
    """Return where the last transaction of a log ends (sqlite.org/fileformat2.html, section 4): it is synced."""
    log = wal.read_bytes()
    salts, frame = log[16:24], 24 + int.from_bytes(log[8:12], "big")
    end = 32
    for start in range(32, len(log) - frame + 1, frame):
        if log[start + 8 : start + 16] != salts:
            break
        if log[start + 4 : start + 8] != bytes(4):
            end = start + frame
    return end


def look(folder):
    """Open what was left; return the jobs that have ended."""
    connection = sqlite3.connect(folder / "fitq.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert invariants.broken(lambda query: connection.execute(query).fetchall(), folder, quiet=False) == []
        return {row[0] for row in connection.execute("SELECT id FROM jobs WHERE state = 'succeeded'")}
    finally:
        connection.close()


def test_whatever_moment_the_power_goes_the_database_opens_and_what_was_said_is_there(writer, tmp_path):
    process, said = writer
    rolled = random.Random(7)
    while said.stat().st_size == 0:
        assert process.is_running()
        time.sleep(0.01)
    for number in range(CUTS):
        time.sleep(rolled.uniform(0, 0.08))
        # Said by now means committed before: SQLite has synced it.
        promised = set(said.read_text().rpartition("\n")[0].split())
        copy = tmp_path / f"cut-{number}"
        cut(process, tmp_path / "live", copy)
        torn = tmp_path / f"torn-{number}"
        shutil.copytree(copy, torn)
        assert promised <= look(copy)

        # Of what was being written anything may be there: nothing, a piece, or noise.
        wal = torn / "fitq.db-wal"
        with wal.open("r+b") as log:
            log.truncate(committed_bytes(wal))
            log.seek(0, os.SEEK_END)
            log.write(rolled.randbytes(rolled.randint(0, 9000)))
        assert promised <= look(torn)
    assert promised
