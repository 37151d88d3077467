"""Attempts played by hand: what a supervisor and its runner do to rows and files, without Keras."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from shared import attempts, checkpoints, db, jobs, spec, store
from shared.checkpoints import Retention

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}
KEEP = Retention(keep_best=0, keep_last=1)


def submit(engine, **changes):
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse({**TINY, **changes})).job_id


def pin(engine, job, checkpoint="last"):
    """Submit a job that needs another one's checkpoint."""
    model = {"job": job, "checkpoint": checkpoint}
    asks = {"kind": "predict", "model": model, "data": {"input": {"x": [[1, 2]]}}, "resources": {"lane": "interactive"}}
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse(asks)).job_id


@dataclass
class Attempt:
    """One claimed attempt, that writes files and reports them as a worker does."""

    engine: object
    volume: Path
    job: str
    number: int
    batch: int = 0
    paths: list = field(default_factory=list)

    def write(self, below, content=b"content"):
        """Write a file into the attempt's folder, that no row names yet."""
        path = f"{store.attempt_folder(self.job, self.number)}/{below}"
        with store.writing(self.volume, path) as file:
            file.write(content)
        self.paths.append(path)
        return store.describe(self.volume, path)

    def _fenced(self, connection):
        self.batch += 1
        assert jobs.fence(connection, self.job, self.number, batch=self.batch)

    def save(self, epoch, *, keep=KEEP, value=1.0):
        """Write a checkpoint and report it; remove what retention gave free. Return its path."""
        return self._save(f"epoch-{epoch}", epoch + 1, (epoch + 1) * 10, value, keep)

    def save_before_validation(self, epoch, *, keep=KEEP):
        """As `save`, with all steps of the epoch and without its end."""
        step = (epoch + 1) * 10
        return self._save(f"step-{step}", epoch, step, None, keep)

    def _save(self, name, epoch, step, value, keep):
        file = self.write(f"checkpoints/{name}.npz", f"{self.job} {self.number} {name}".encode())
        row = {"name": name, "epoch": epoch, "step": step, "weights_sha256": "0" * 64, "value": value}
        row |= {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "monitor": "loss"}
        with db.write(self.engine) as connection:
            self._fenced(connection)
            stale = checkpoints.record(connection, self.job, self.number, row, greater=False, keep=keep)
        for path in stale:
            store.remove(self.volume, path)
        return file.path

    def leave(self, name, content=b"artifact"):
        """Write an artifact and report it."""
        file = self.write(f"files/{len(self.paths)}.log", content)
        row = {"name": name, "content_type": "text/csv", "path": file.path, "bytes": file.bytes, "sha256": file.sha256}
        with db.write(self.engine) as connection:
            self._fenced(connection)
            stale = attempts.add_artifact(connection, self.job, self.number, **row)
        for path in stale:
            store.remove(self.volume, path)
        return file.path

    def end(self, how=jobs.release, **more):
        with db.write(self.engine) as connection:
            self._fenced(connection)
            how(connection, self.job, self.number, **more)

    def succeed(self, final="epoch-0"):
        self.end(jobs.succeed, value={}, weights_sha256=None, final_checkpoint=final)


def claim(engine, volume, lane="cpu"):
    with db.write(engine) as connection:
        taken = jobs.claim(connection, lane=lane, worker="w", host="h", free_memory_mb=99_999, lease_s=600)
    return taken and Attempt(engine, volume, taken.job_id, taken.number)


def files(volume):
    """Return the paths of all files below `jobs`."""
    return {path.relative_to(volume).as_posix() for path in (volume / "jobs").rglob("*") if path.is_file()}


def age(volume, seconds=7200):
    """Let every file be so old."""
    for path in (volume / "jobs").rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)
