"""Files below `jobs` that nobody needs: what attempts left that lost their lease, and what deleted jobs left.

Never touched: the folder of an attempt that runs, logs, and what has changed within the grace.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from shared import db
from shared.volume import standing
from shared.volume.findings import Fault, Finding
from shared.volume.standing import Standing

#: Seconds for which a file stays that no row names: clocks differ, and an attempt may not know yet that it is over.
GRACE_S = 3600.0
#: Jobs whose rows are read at a time.
_JOBS = 100


@dataclass(frozen=True)
class _File:
    #: Below the volume.
    path: str
    bytes: int
    changed: float


def find(engine: Engine, volume: Path, *, grace_s: float = GRACE_S) -> Iterator[Finding]:
    """Yield the files and folders of this database's jobs that nobody needs."""
    oldest = time.time() - grace_s
    names = job_folders(volume)
    for first in range(0, len(names), _JOBS):
        some = names[first : first + _JOBS]
        # The files first: what comes after the rows were read is not looked at.
        files = {name: list(_files(volume, f"jobs/{name}")) for name in some}
        with db.read(engine) as connection:
            known = standing.of(connection, some)
        for name, job in known.items():
            yield from (
                _deleted(volume, name, files[name]) if job.deleted else _orphans(volume, files[name], job, oldest)
            )


def job_folders(volume: Path) -> list[str]:
    """Return the names of the folders below `jobs`."""
    try:
        with os.scandir(volume / "jobs") as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def of_unknown(engine: Engine, volume: Path, *, grace_s: float = GRACE_S) -> Iterator[Finding]:
    """Yield the folders of jobs that this database does not know: perhaps another one does."""
    oldest = time.time() - grace_s
    for name in unknown(engine, job_folders(volume)):
        files = list(_files(volume, f"jobs/{name}"))
        # It may have gone with its job since it was listed.
        if all(file.changed < oldest for file in files) and (volume / "jobs" / name).is_dir():
            mend = partial(_remove_folder, volume / "jobs" / name)
            yield Finding(Fault.ORPHAN, f"jobs/{name}/", _total(files), "There is no such job.", mend)


def unknown(engine: Engine, names: list[str]) -> list[str]:
    """Return those of the names that are no job's."""
    found: list[str] = []
    for first in range(0, len(names), _JOBS):
        some = names[first : first + _JOBS]
        with db.read(engine) as connection:
            known = standing.of(connection, some)
        found += [name for name in some if name not in known]
    return found


def _deleted(volume: Path, name: str, files: list[_File]) -> Iterator[Finding]:
    folder = volume / "jobs" / name
    if folder.is_dir():
        meaning = "The job was deleted, and these files are left."
        yield Finding(Fault.DELETED, f"jobs/{name}/", _total(files), meaning, partial(_remove_folder, folder))


def _orphans(volume: Path, files: list[_File], job: Standing, oldest: float) -> Iterator[Finding]:
    for file in files:
        if file.changed < oldest and not _is_needed(file.path, job):
            mend = partial(remove, volume / file.path)
            yield Finding(Fault.ORPHAN, file.path, file.bytes, "No row names this file.", mend)


def _total(files: list[_File]) -> int:
    return sum(file.bytes for file in files)


def _is_needed(path: str, job: Standing) -> bool:
    _, _, attempt, *rest = path.split("/")
    if not attempt.isdecimal() or job.is_live(int(attempt)) or path in job.needed or rest == ["log.txt"]:
        return True
    # What callbacks write is in no row; a checkpoint tells of it, and the next attempt goes on with it.
    return rest[:1] == ["files"] and int(attempt) in job.resumable


def _files(volume: Path, folder: str) -> Iterator[_File]:
    """Yield the files in a folder and below, links as what they are; what vanishes meanwhile is not there."""
    try:
        with os.scandir(volume / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        path = f"{folder}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(volume, path)
            continue
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield _File(path, stat.st_size, stat.st_mtime)


def remove(path: Path) -> bool:
    """Remove a file; return whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _remove_folder(path: Path) -> bool:
    """Remove a folder with all that is in it. Raise OSError where something cannot be removed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return not path.exists()
    return True
