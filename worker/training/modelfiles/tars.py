"""Tar archives, plain or gzipped, that anyone may have written: members are measured and named before one is read."""

import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from shared.errors import BadData
from worker.training.modelfiles import archives

#: How a gzipped file begins; and where a tar archive says what it is, and how.
GZIP = b"\x1f\x8b"
_MAGIC_AT, _MAGIC = 257, b"ustar"
_MEMBERS_MOST = 100_000
_CHUNK = 1 << 20


class Tar:
    """An open archive whose members are files and folders only."""

    def __init__(self, file: BinaryIO, members: dict[str, tarfile.TarInfo], label: str) -> None:
        """Take its members by name."""
        self._file, self._members, self.label = file, members, label

    @property
    def names(self) -> list[str]:
        """The names of the members that are files."""
        return list(self._members)

    @contextmanager
    def unpacked(self, name: str, most: int) -> Iterator[BinaryIO]:
        """Copy a member of at most so many bytes to a file without a name. Raise `BadData`."""
        info = self._members.get(name)
        archives.check_member(self.label, name, None if info is None else info.size, most)
        assert info is not None  # noqa: S101 - it was checked
        with tempfile.TemporaryFile() as copy:
            self._file.seek(info.offset_data)
            left = info.size
            while chunk := self._file.read(min(_CHUNK, left)):
                copy.write(chunk)
                left -= len(chunk)
            if left:
                raise BadData(f"{self.label}: it was cut: it ends within '{name[:200]}'.")
            copy.seek(0)
            yield copy


def is_tar(start: bytes) -> bool:
    """Whether a file that begins so is a tar archive, or a gzipped file."""
    return start.startswith(GZIP) or start[_MAGIC_AT:].startswith(_MAGIC)


@contextmanager
def opened(file: BinaryIO, label: str, most: int) -> Iterator[Tar]:
    """Open an archive of at most so many bytes for the length of a block. Raise `BadData`."""
    start = file.read(len(GZIP))
    file.seek(0)
    if start != GZIP:
        yield Tar(file, _members(file, label), label)
        return
    with tempfile.TemporaryFile() as plain:
        _gunzip(file, plain, label, most)
        yield Tar(plain, _members(plain, label), label)


def _gunzip(file: BinaryIO, plain: Any, label: str, most: int) -> None:
    with _readable(label), gzip.GzipFile(fileobj=file) as stream:
        while chunk := stream.read(_CHUNK):
            most -= len(chunk)
            if most < 0:
                raise BadData(f"{label} unpacks to more than the job's memory_mb allows.")
            plain.write(chunk)
    plain.seek(0)


def _members(file: BinaryIO, label: str) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    with _readable(label), tarfile.TarFile(fileobj=cast("Any", _Guarded(file))) as archive:
        for count, info in enumerate(archive):
            if count >= _MEMBERS_MOST:
                raise BadData(f"{label} holds more than {_MEMBERS_MOST} files.")
            name = info.name.removeprefix("./")
            archives.check_name(label, name, found)
            if not (info.isdir() or info.isreg()) or info.issparse() or info.size < 0:
                raise BadData(f"{label}: '{name[:200]}' is a link, or no plain file; only files and folders are read.")
            if info.isreg():
                found[name] = info
    return found


class _Guarded:
    """A file for tarfile, which reads headers of whatever size they say: no more than a chunk of it at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError(f"a header has {size:,} bytes")
        return self._file.read(size)


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadData(f"{label} is no readable tar archive: {str(error)[:200].rstrip('.')}.") from error
