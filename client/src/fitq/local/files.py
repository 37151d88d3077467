"""The files that a job's callbacks leave, brought to the paths that the caller gave."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fitq.jobs import Job


@dataclass
class Landing:
    """Where the files of one callback land: an artifact's name without `prefix`, below `root`."""

    #: What the spec calls the file or folder.
    name: str
    #: The name's part before anything that Keras fills in.
    fixed: str
    prefix: str
    root: Path
    #: Whether the file's lines go behind those that it has already.
    append: bool = False
    #: Bytes that such a file had before; None until it was looked at.
    before: int | None = None
    #: The sum of each file that has landed.
    landed: dict[str, str] = field(default_factory=dict)


def landing(index: int, path: Path, *, append: bool = False) -> Landing:
    """Return where a callback's files land. The spec's name is the path, where that is relative and climbs nowhere.

    Of any other path the spec has the end only: its last part, and before it the parts with fields (`{epoch}`).
    """
    parts = PurePosixPath(path.as_posix()).parts
    if not path.is_absolute() and ".." not in parts and parts:
        name = "/".join(parts)
        return Landing(name, name.split("{", 1)[0], "", Path.cwd(), append=append)
    filled = [place for place, part in enumerate(parts) if "{" in part]
    first = min([*filled, len(parts) - 1])
    name = "/".join((str(index), *parts[first:]))
    return Landing(name, name.split("{", 1)[0], f"{index}/", Path(*parts[:first]).absolute(), append=append)


def fetch(job: Job, landings: Sequence[Landing]) -> list[Path]:
    """Bring the files that are new or have changed; return where they are."""
    if not landings:
        return []
    return [path for one in job.artifacts() if (path := _fetch_one(job, landings, one)) is not None]


def _fetch_one(job: Job, landings: Sequence[Landing], artifact: dict[str, Any]) -> Path | None:
    name, sha256 = str(artifact["name"]), str(artifact.get("sha256"))
    # Of `logs` and `logs.csv` the one that says more of the name.
    one = max((one for one in landings if name.startswith(one.fixed)), key=lambda one: len(one.fixed), default=None)
    if one is None or one.landed.get(name) == sha256:
        return None
    target = _target(one, name)
    if target is None:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    if one.append:
        _append(job, name, target, one)
    else:
        job.download_artifact(name, target)
    one.landed[name] = sha256
    return target


def _target(one: Landing, name: str) -> Path | None:
    """Return a file's place; None for a name that would leave the caller's folder."""
    relative = PurePosixPath(name.removeprefix(one.prefix))
    if relative.is_absolute() or ".." in relative.parts:
        return None
    return one.root.joinpath(*relative.parts)


def _append(job: Job, name: str, target: Path, one: Landing) -> None:
    """Put a log's lines behind what a file had before the job, without the header a second time."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        job.download_artifact(name, part)
        lines = part.read_bytes().splitlines(keepends=True)
    with target.open("ab") as file:
        if one.before is None:
            one.before = file.seek(0, os.SEEK_END)
        # A job that runs has brought its first lines already.
        file.truncate(one.before)
        file.writelines(lines[1:] if one.before else lines)
