"""An upload's file while it arrives, and how it gets its place.

    uploads/<aa>/<sha256>         whole: synced, its SHA-256 verified before it got this name
    uploads/<aa>/<sha256>.part    what has arrived of it
    uploads/incoming/<id>.part    content whose SHA-256 is known at its end only

Whoever has the content may add to a part, several at once: each piece is added under the kernel's lock
of the file, behind what is there, so that the bytes come in order and none comes twice. What was added
by one who had other bytes is found out at the end.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from shared import refs, store
from shared.errors import Conflict, DiskFull, NotFound, Unavailable

#: Bytes of the volume that uploads leave free for checkpoints and logs.
RESERVE = 256 << 20

#: Bytes after which it is looked again whether there is room.
LOOK_BYTES = 1 << 24

_INCOMING = "incoming"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class WrongOffset(Conflict):
    """The bytes do not begin where those that are there end."""

    code = "wrong_offset"

    def __init__(self, there: int) -> None:
        """Say where they must begin."""
        super().__init__(f"{there} bytes are there: send what follows them, with Upload-Offset: {there}.")
        self.offset = there


@dataclass(frozen=True)
class Incoming:
    """One upload's file."""

    volume: Path
    sha256: str
    #: Bytes of the whole content.
    size: int

    @property
    def path(self) -> Path:
        """Where it lies when it is whole."""
        return self.volume / store.upload_path(self.sha256)

    @property
    def part(self) -> Path:
        """Where it lies while it arrives."""
        return self.path.with_name(f"{self.sha256}.part")

    def is_whole(self) -> bool:
        """Whether all of it is there and was verified."""
        return _size(self.path) == self.size

    def offset(self) -> int:
        """Return how many bytes are there."""
        return self.size if self.is_whole() else min(_size(self.part) or 0, self.size)

    def begin(self) -> None:
        """Make the part, if there is none. Raise `DiskFull` when the rest would not fit."""
        require_room(self.volume, self.size - self.offset())
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.touch()

    def add(self, position: int, piece: bytes) -> int:
        """Add what of `piece`, which belongs at `position`, is not there; return where it ends.

        Raise `WrongOffset` when bytes before it are missing, `NotFound` when the part was removed, `DiskFull`.
        """
        try:
            with self.locked() as file:
                there = os.fstat(file.fileno()).st_size
                if position > there:
                    raise WrongOffset(there)
                _require_spare(self.volume, there, position + len(piece))
                _write(file, memoryview(piece)[there - position :])
        except NotFound:
            # Somebody who sent the same was faster, and nothing is missing.
            if not self.is_whole():
                raise
        return position + len(piece)

    @contextmanager
    def locked(self) -> Iterator[FileIO]:
        """Hold the part, open for reading and appending, against everybody else who does."""
        try:
            file = self._open()
            while not store.is_same(self.part, os.fstat(file.fileno())):
                # It was put in its place, or removed, while we waited for it.
                file.close()
                file = self._open()
        except FileNotFoundError:
            raise NotFound(f"The upload {refs.ref(self.sha256)} was removed while it arrived.") from None
        with file:
            yield file

    def _open(self) -> FileIO:
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self.part, flags), "r+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def place(self) -> None:
        """Give the part the name that says that it is whole; the caller has synced and verified it."""
        self.part.replace(self.path)
        _sync(self.path.parent)

    def discard(self) -> None:
        """Remove what has arrived."""
        self.part.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove whatever is there."""
        self.discard()
        self.path.unlink(missing_ok=True)


def digest(file: FileIO) -> str:
    """Return the SHA-256 of a whole file."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def require_room(volume: Path, size: int) -> None:
    """Raise `DiskFull` unless the volume has room for so many bytes, and `Unavailable` when it is not there."""
    if not store.is_there(volume):
        raise Unavailable("The volume is not there; try again when it is mounted.")
    free = max(0, shutil.disk_usage(volume).free - RESERVE)
    if size > free:
        raise DiskFull(f"{size / 1e6:,.0f} MB are to come, and the volume has room for {free / 1e6:,.0f} MB.")


class Unnamed:
    """Content whose SHA-256 is known at its end: added to in order, then put in its place."""

    def __init__(self, volume: Path) -> None:
        """Make the file."""
        self._volume = volume
        self._path = volume / "uploads" / _INCOMING / f"{uuid.uuid4().hex}.part"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb", buffering=0)
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add bytes at the end. Raise `DiskFull`."""
        _require_spare(self._volume, self.size, self.size + len(piece))
        _write(self._file, memoryview(piece))
        self._digest.update(piece)
        self.size += len(piece)

    def finished(self) -> Incoming:
        """Sync the file; return the upload that it is."""
        os.fsync(self._file.fileno())
        return Incoming(self._volume, self._digest.hexdigest(), self.size)

    def place(self, incoming: Incoming) -> None:
        """Put the file in its place, instead of what had arrived of it."""
        incoming.path.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(incoming.path)
        _sync(incoming.path.parent)
        incoming.part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, and remove it where it still lies."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def strays(volume: Path, *, older_than_s: float) -> Iterator[Incoming]:
    """Yield the named files below `uploads` that nobody has changed for so long."""
    for path in _unchanged(volume, older_than_s):
        if refs.is_sha256(sha256 := path.name.removesuffix(".part")):
            yield Incoming(volume, sha256, max(1, _size(path) or 0))


def unnamed(volume: Path, *, older_than_s: float) -> Iterator[Path]:
    """Yield the files of contents whose SHA-256 never came to be known, that nobody has changed for so long."""
    yield from (path for path in _unchanged(volume, older_than_s) if path.parent.name == _INCOMING)


def _unchanged(volume: Path, seconds: float) -> Iterator[Path]:
    oldest = time.time() - seconds
    for path in (volume / "uploads").glob("*/*"):
        changed = _changed(path)
        if changed is not None and changed <= oldest:
            yield path


def _changed(path: Path) -> float | None:
    try:
        return path.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _require_spare(volume: Path, before: int, size: int) -> None:
    """Look now and then whether there is room for what comes: others write, too."""
    if before // LOOK_BYTES != size // LOOK_BYTES:
        require_room(volume, max(0, size - before))


def _write(file: FileIO, data: memoryview) -> None:
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull("The volume is full; what has arrived stays.") from error
        raise


def _sync(folder: Path) -> None:
    """Make a new name in `folder` last, and the folder's own."""
    for one in (folder, folder.parent):
        store.sync_folder(one)
