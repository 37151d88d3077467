"""The files that a job's callbacks leave, as exact as its weights: a checkpoint knows them, a next attempt has them.

A log (CSV, TensorBoard's events) only grows. A checkpoint holds how long it was, and the next attempt copies so much
of it into its own folder and goes on there. Any other file is written once and said after the checkpoint that knows of
it; one that was not said before its attempt ended is said by the next. On the volume files have numbers: what a user
calls them is a name in SQL and never a path here.
"""

import hashlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared import store
from shared.errors import CheckpointCorrupt
from shared.store import StoredFile
from worker.training.port import Report
from worker.wire import Artifact, Assignment

#: A growing log is copied anew when so many times as long has passed as its last copy took.
_PATIENCE = 50


class Log:
    """A file that grows, on the volume from its first byte."""

    def __init__(self, volume: Path, path: str, name: str, content_type: str) -> None:
        """Take where it lies below the volume, and what it is called; nothing is written."""
        self.name, self.content_type = name, content_type
        self._volume, self._path = volume, path
        self._size = 0
        self._digest = hashlib.sha256()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def append(self, data: bytes) -> None:
        """Write at the end. Raise OSError when the disk is full."""
        target = self._volume / self._path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab" if self._size else "wb") as file:
            file.write(data)
        self._size += len(data)
        self._digest.update(data)

    def state(self) -> dict[str, Any]:
        """Make what was written last, and return what a checkpoint must know."""
        if self._size:
            store.sync_file(self._volume, self._path)
        return {"path": self._path, "bytes": self._size, "sha256": self._digest.hexdigest()}

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Begin with what an earlier attempt's was at a checkpoint. Raise `CheckpointCorrupt` when that is gone."""
        self._size, self._digest = 0, hashlib.sha256()
        if saved and saved["bytes"]:
            self._take(saved)

    def _take(self, saved: dict[str, Any]) -> None:
        part = store.copy_part(self._volume, saved["path"], self._path, saved["bytes"])
        if part is None or (part.bytes, part.sha256) != (saved["bytes"], saved["sha256"]):
            raise CheckpointCorrupt(f"The file '{self.name}' of the time is not there as it was.")
        with (self._volume / self._path).open("rb") as file:
            while chunk := file.read(1 << 20):
                self._digest.update(chunk)
        self._size = part.bytes

    def copy(self, path: str) -> StoredFile:
        """Copy it as it is now."""
        copied = store.copy_part(self._volume, self._path, path, self._size)
        return copied or StoredFile(path, 0, hashlib.sha256().hexdigest())


class Files:
    """What an attempt's callbacks leave."""

    def __init__(self, assignment: Assignment, report: Report) -> None:
        """Keep files in the attempt's folder, and say them to `report`."""
        self._volume = Path(assignment.volume)
        self._folder = f"{store.attempt_folder(assignment.job_id, assignment.attempt)}/files"
        self.job_id = assignment.job_id
        self._report = report
        self._logs: dict[str, Log] = {}
        #: Bytes of each log that were said, and when it may be said again.
        self._said: dict[str, tuple[int, float]] = {}
        self._waiting: dict[str, Artifact] = {}
        self._number = 0

    def log(self, name: str, content_type: str) -> Log:
        """Return the log of that name, empty."""
        log = self._logs[name] = Log(self._volume, self._next(".log"), name, content_type)
        return log

    def _next(self, suffix: str) -> str:
        self._number += 1
        return f"{self._folder}/{self._number}{suffix}"

    def place(self, suffix: str) -> Path:
        """Return a new path, to which the caller writes a whole file and then calls `keep`."""
        path = self._volume / self._next(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, name: str, content_type: str, path: Path) -> None:
        """Leave a file that was written; it is said after the next checkpoint, unless a newer one comes before."""
        below = path.relative_to(self._volume).as_posix()
        store.sync_file(self._volume, below)
        replaced = self._waiting.pop(name, None)
        self._waiting[name] = Artifact(name, content_type, store.describe(self._volume, below))
        if replaced is not None:
            store.remove(self._volume, replaced.file.path)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must know."""
        if not self._logs and not self._waiting:
            return {}
        return {
            "logs": {name: log.state() for name, log in self._logs.items()},
            "waiting": [asdict(one) for one in self._waiting.values()],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Be as at a checkpoint, of whatever attempt. Raise `CheckpointCorrupt` when a log is not what it was."""
        for name, log in self._logs.items():
            log.restore(saved.get("logs", {}).get(name))
        self._waiting = {}
        for one in saved.get("waiting", ()):
            path = self._next(Path(one["file"]["path"]).suffix)
            # What is not there any more has been said, and has been replaced since.
            if store.take_over(self._volume, one["file"]["path"], path):
                file = StoredFile(**{**one["file"], "path": path})
                self._waiting[one["name"]] = Artifact(one["name"], one["content_type"], file)

    def publish(self, *, final: bool = False) -> None:
        """Say what there is to say: after the checkpoint that knows it. Long logs are not copied each time."""
        waiting, self._waiting = self._waiting, {}
        for artifact in waiting.values():
            self._report.say(artifact)
        for log in self._logs.values():
            said, due = self._said.get(log.name, (0, 0.0))
            if log.size != said and (final or time.monotonic() >= due):
                self._publish(log)

    def _publish(self, log: Log) -> None:
        began = time.monotonic()
        file = log.copy(self._next(".log"))
        ended = time.monotonic()
        self._said[log.name] = (log.size, ended + _PATIENCE * (ended - began))
        self._report.say(Artifact(log.name, log.content_type, file))
