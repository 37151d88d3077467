"""The volume: where files lie, and how they are written so that none is ever half there.

    data/                                       what users put there: npy, npz
    uploads/<aa>/<sha256>                       what users sent, under the SHA-256 of it (shared/incoming.py)
    jobs/<job>/<attempt>/checkpoints/<name>.npz one file per checkpoint
    jobs/<job>/<attempt>/log.txt                what the runner printed
    jobs/<job>/<attempt>/<artifact>
    jobs/<job>/<attempt>/files/<number>    what callbacks leave: a row says what it is called

Only a row in SQL makes a file exist: each attempt writes below a folder of its own, so that an
attempt that lost its lease can leave nothing but files that nobody names.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from shared import refs
from shared.errors import BadData, CheckpointCorrupt

#: How the index of a TensorFlow checkpoint is called, behind the prefix that its files share.
INDEX = ".index"
_CHUNK = 1 << 20
#: Uploads whose content this process has found to be what their names say: device, inode, size, time of change.
_verified: set[tuple[int, int, int, int]] = set()


@dataclass(frozen=True)
class StoredFile:
    """A file that was written whole: its path below the volume, its size, its SHA-256."""

    path: str
    bytes: int
    sha256: str


def prepare(volume: Path) -> None:
    """Make an empty volume, where there is none yet."""
    (volume / "data").mkdir(parents=True, exist_ok=True)


def is_there(volume: Path) -> bool:
    """Whether the volume is mounted: an empty mount point has no `data` folder."""
    return (volume / "data").is_dir()


def attempt_folder(job_id: str, attempt: int) -> str:
    """Return the folder of one attempt, below the volume."""
    return f"jobs/{job_id}/{attempt}"


def log_path(job_id: str, attempt: int) -> str:
    """Return the path of one attempt's log, below the volume."""
    return f"{attempt_folder(job_id, attempt)}/log.txt"


def checkpoint_path(job_id: str, attempt: int, name: str) -> str:
    """Return the path of one checkpoint's file, below the volume."""
    return f"{attempt_folder(job_id, attempt)}/checkpoints/{name}.npz"


def upload_path(sha256: str) -> str:
    """Return the path of a whole upload, below the volume."""
    return f"uploads/{sha256[:2]}/{sha256}"


@contextmanager
def writing(volume: Path, path: str) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: temporary name, fsync, rename, fsync of the folder.

    Raise OSError when the disk is full; what was there before is untouched.
    """
    target = volume / path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Never through a link, nor into a file that is there already.
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(volume: Path, path: str) -> None:
    """Make a file last that somebody else has written, and its name."""
    descriptor = os.open(volume / path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder((volume / path).parent)


def describe(volume: Path, path: str) -> StoredFile:
    """Read a file back from the disk and return its size and SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with (volume / path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return StoredFile(path, size, digest.hexdigest())


def verify(volume: Path, file: StoredFile) -> Path:
    """Return the path of a file that is what its row says; raise `CheckpointCorrupt` otherwise.

    A file that cannot be read for another reason (a stale mount, an I/O error) is an OSError: it may
    be whole, and another attempt may read it.
    """
    try:
        found = describe(volume, file.path)
    except FileNotFoundError as error:
        raise CheckpointCorrupt(f"{file.path} is not there.") from error
    if found != file:
        raise CheckpointCorrupt(
            f"{file.path} is {found.bytes} bytes with SHA-256 {found.sha256[:12]}, not as recorded."
        )
    return volume / file.path


def remove(volume: Path, path: str) -> None:
    """Remove a file; one that is not there is well."""
    (volume / path).unlink(missing_ok=True)


def remove_job(volume: Path, job_id: str) -> None:
    """Remove every file of a job."""
    shutil.rmtree(volume / "jobs" / job_id, ignore_errors=True)


def open_data(volume: Path, path: str) -> BinaryIO:
    """Open what a spec's FILE names: a file below the volume's `data` folder, or an upload as `sha256:…`.

    An upload is read once in each process to verify that it is what its name says; one that is not is
    removed, so that it can be sent again. Raise `BadData` naming the file.
    """
    sha256 = _upload(path)
    return _open_below(volume, path) if sha256 is None else _open_upload(volume, sha256)


def check_data(volume: Path, path: str, *, folder: bool = False, prefix: bool = False) -> None:
    """Raise `BadData` unless FILE is there, without reading it; `folder`: it may be a folder below `data`.

    `prefix`: it may be what the names of a TensorFlow checkpoint's files begin with.
    """
    if prefix and (begins := prefix_of(volume, path)) is not None:
        path = begins + INDEX
    if (sha256 := _upload(path)) is not None:
        _open_whole(volume, sha256).close()
        return
    descriptor = _descend(volume, path)
    kind = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if not (stat.S_ISREG(kind) or (folder and stat.S_ISDIR(kind))):
        raise BadData(f"'{path}' is not a regular file{' and not a folder' if folder else ''}.")


def is_folder(volume: Path, path: str) -> bool:
    """Whether a path below the volume's `data` folder is a folder. Raise `BadData` when it is not there."""
    descriptor = _descend(volume, path)
    kind = os.fstat(descriptor).st_mode
    os.close(descriptor)
    return stat.S_ISDIR(kind)


def prefix_of(volume: Path, path: str) -> str | None:
    """Return what the names of a TensorFlow checkpoint's files below `data` begin with; None where FILE is one file.

    FILE may be that itself, or the name of the checkpoint's index.
    """
    if _upload(path) is not None:
        return None
    if path.endswith(INDEX):
        return path.removesuffix(INDEX)
    return path if not _is_there(volume, path) and _is_there(volume, path + INDEX) else None


def _is_there(volume: Path, path: str) -> bool:
    try:
        os.close(_descend(volume, path))
    except BadData:
        return False
    return True


@contextmanager
def folder(volume: Path, path: str) -> Iterator[int]:
    """Hold a folder below the volume's `data` folder open, reached without following a link. Raise `BadData`."""
    descriptor = _descend(volume, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _upload(path: str) -> str | None:
    try:
        return refs.upload(path)
    except ValueError as error:
        raise BadData(str(error)) from None


def _open_upload(volume: Path, sha256: str) -> BinaryIO:
    file = _open_whole(volume, sha256)
    try:
        now = os.fstat(file.fileno())
        if (known := (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)) not in _verified:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                _remove_damaged(volume / upload_path(sha256), now)
                raise BadData(f"The upload {refs.ref(sha256)} was damaged on the volume. {_SEND_AGAIN}")
            _verified.add(known)
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


#: What to do where an upload is not there.
_SEND_AGAIN = "Send the file (again): `fitq upload FILE`, or Queue.upload(FILE)."


def _open_whole(volume: Path, sha256: str) -> BufferedReader:
    try:
        descriptor = os.open(volume / upload_path(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BadData(f"There is no complete upload {refs.ref(sha256)}. {_SEND_AGAIN}") from None
    except OSError as error:
        raise BadData(f"The upload {refs.ref(sha256)} cannot be opened: {error.strerror}.") from error
    return os.fdopen(descriptor, "rb")


def _remove_damaged(path: Path, found: os.stat_result) -> None:
    """Remove a file that is not what its name says, unless another one has taken its place meanwhile."""
    if is_same(path, found):
        path.unlink(missing_ok=True)


def is_same(path: Path, found: os.stat_result) -> bool:
    """Whether the file at `path` is the one that was looked at, and not another in its place."""
    try:
        now = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)


def _open_below(volume: Path, path: str) -> BinaryIO:
    descriptor = _descend(volume, path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadData(f"'{path}' is not a regular file.")
    return os.fdopen(descriptor, "rb")


def _descend(volume: Path, path: str) -> int:
    """Open a path below the volume's `data` folder, following no link on the way.

    Each component is opened relative to the one before with O_NOFOLLOW, so that a link swapped in
    after a check changes nothing. Raise `BadData` naming the path.
    """
    parts = relative_parts(path)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(volume / "data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            extra = os.O_NONBLOCK if last else os.O_DIRECTORY
            parent = descriptor
            try:
                descriptor = os.open(part, flags | extra, dir_fd=parent)
            finally:
                os.close(parent)
    except OSError as error:
        raise BadData(_why(path, error)) from error
    return descriptor


def _why(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no file '{path}' below the volume's data folder."
    if error.errno in {40, 20}:  # ELOOP: a link; ENOTDIR: a link to a folder, or a file used as one
        return f"'{path}' goes through a link or a file; paths below the volume's data folder may not."
    return f"'{path}' cannot be opened: {error.strerror}."


def is_relative(path: str) -> bool:
    """Whether a path stays below the folder that it starts from, whatever that is."""
    parts = path.split("/")
    return "\0" not in path and "\\" not in path and not any(part in {"", ".", ".."} for part in parts)


def relative_parts(path: str) -> list[str]:
    """Split a user's path; raise `BadData` when it is absolute, empty or climbs out."""
    if not is_relative(path):
        raise BadData(f"'{path[:200]}' must be a relative path below the volume's data folder, without '..'.")
    return path.split("/")


def take_over(volume: Path, source: str, target: str) -> bool:
    """Let a file be at a second path as well, so that it outlives the first; return whether it is still there."""
    (volume / target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(volume / source, volume / target)
    except FileNotFoundError:
        return False
    except OSError:  # a file system without hard links
        return copy_part(volume, source, target, None) is not None
    sync_folder((volume / target).parent)
    return True


def copy_part(volume: Path, source: str, target: str, size: int | None) -> StoredFile | None:
    """Copy a file's first `size` bytes (all: None); return what was written, None where the source is gone."""
    digest = hashlib.sha256()
    done = 0
    try:
        origin = (volume / source).open("rb")
    except FileNotFoundError:
        return None
    with origin, writing(volume, target) as copy:
        while chunk := origin.read(_CHUNK if size is None else min(_CHUNK, size - done)):
            copy.write(chunk)
            digest.update(chunk)
            done += len(chunk)
    return StoredFile(target, done, digest.hexdigest())
