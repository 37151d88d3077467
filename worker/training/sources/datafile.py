"""A user's file that stays open for as long as somebody reads from it."""

import errno
import hashlib
import io
import os
import weakref
from typing import BinaryIO, cast

from shared.errors import BadData

#: Bytes that are hashed at a time.
_CHUNK = 1 << 20


class DataFile:
    """A file that was opened once and is read at any place; it is closed with the last who holds it."""

    def __init__(self, label: str, file: BinaryIO) -> None:
        """Keep an open file; `label` is what messages call it."""
        self.label = label
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        #: The same again means that nobody wrote to the file, nor put another in its place.
        self.stamp = stamp(status)
        self._written_ns = status.st_mtime_ns

    @property
    def path(self) -> str:
        """A path that opens this very file again, whatever the name stands for by then."""
        return f"/proc/self/fd/{self._descriptor}"

    def stream(self) -> BinaryIO:
        """Return the file as Python's own, from its beginning on, at a place of its own."""
        return cast("BinaryIO", _Stream(self, self._descriptor))

    def into(self, view: memoryview, offset: int) -> None:
        """Fill a buffer from a place on. Raise `BadData` when the file ends before, or was written to.

        Not a memory map: a file that shrinks under one kills the process.
        """
        filled = 0
        while filled < len(view):
            count = os.preadv(self._descriptor, [view[filled:]], offset + filled)
            if not count:
                raise BadData(f"{self.label} was cut short while it was read: byte {offset + filled} is not there.")
            filled += count
        self.check()

    def at(self, offset: int, count: int) -> bytes:
        """Return the bytes at a place; fewer at the end of the file."""
        wanted = max(0, min(count, self.size - offset))
        buffer = bytearray(wanted)
        self.into(memoryview(buffer), offset)
        return bytes(buffer)

    def check(self) -> None:
        """Raise `BadData` when the file was written to since it was opened: what was read of it is of no one moment."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._written_ns):
            raise BadData(written_to(self.label))

    def sha256(self) -> str:
        """Return the SHA-256 of what is in the file. Raise `BadData` when it was written to since it was opened."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_CHUNK))
        for offset in range(0, self.size, _CHUNK):
            part = buffer[: min(_CHUNK, self.size - offset)]
            self.into(part, offset)
            digest.update(part)
        return digest.hexdigest()


class _Stream(io.RawIOBase):
    """A file for who reads it from a place that moves on, whoever else reads it."""

    def __init__(self, file: DataFile, descriptor: int) -> None:
        self._file, self._descriptor, self._at = file, descriptor, 0

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place = (0, self._at, self._file.size)[whence] + offset
        if place < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = place
        return place


def stamp(status: os.stat_result) -> str:
    """Return what changes with every change of a file: with a new content, and with another file in its place.

    It may change without one, too: by a `touch`, a copy, or on another machine.
    """
    return f"{status.st_size}-{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def written_to(label: str) -> str:
    """Return the sentence about a file that was changed while a job read it."""
    return f"{label} was written to while the job read it: retry the job when nobody writes to its data any more."
