"""Zip archives that anyone may have written: members are counted, measured and named before one is read."""

import tempfile
import zipfile
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from shared.errors import BadData

#: Members of an archive, at most.
_MEMBERS_MOST = 100_000
#: How much larger a member may be than its bytes in the archive, once it is larger than a small one. Deflate reaches
#: 1,032; trained weights hardly 2.
_RATIO_MOST = 100
_SMALL = 64 << 20
_CHUNK = 1 << 20


class Zip:
    """An open archive whose list of members has been checked."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        """Check the list. Raise `BadData` for too many members, bombs, odd names and names that come twice."""
        self._archive, self.label = archive, label
        self._members: dict[str, zipfile.ZipInfo] = {}
        if len(archive.infolist()) > _MEMBERS_MOST:
            raise BadData(f"{label} holds {len(archive.infolist())} files; at most {_MEMBERS_MOST} are read.")
        for info in archive.infolist():
            self._check(info)
            self._members[info.filename] = info

    def _check(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        check_name(self.label, name, self._members)
        if info.flag_bits & 0x1:
            raise BadData(f"{self.label}: '{name[:200]}' is encrypted.")
        if info.file_size > max(_SMALL, _RATIO_MOST * info.compress_size):
            raise BadData(
                f"{self.label}: '{name[:200]}' would unpack from {info.compress_size:,} to {info.file_size:,} bytes; "
                f"at most {_RATIO_MOST} times as much is unpacked."
            )

    @property
    def names(self) -> list[str]:
        """The names of the members that are files."""
        return [name for name in self._members if not name.endswith("/")]

    def size(self, name: str) -> int:
        """Return the unpacked size of a member."""
        return self._members[name].file_size

    def read(self, name: str, most: int) -> bytes:
        """Return a member of at most so many bytes. Raise `BadData`."""
        if name not in self._members:
            raise BadData(f"{self.label} holds no '{name}'.")
        if self.size(name) > most:
            raise BadData(f"{self.label}: '{name}' has {self.size(name):,} bytes; at most {most:,} are read.")
        with self.member(name) as member:
            return member.read()

    @contextmanager
    def unpacked(self, name: str, most: int) -> Iterator[BinaryIO]:
        """Unpack a member of at most so many bytes to a file without a name. Raise `BadData`."""
        check_member(self.label, name, self.size(name) if name in self._members else None, most)
        with tempfile.TemporaryFile() as file:
            self.unpack(name, file)
            file.seek(0)
            yield file

    def unpack(self, name: str, file: IO[bytes]) -> None:
        """Write a member to a file; its checksum has been compared when this returns. Raise `BadData`."""
        with self.member(name) as member:
            while chunk := member.read(_CHUNK):
                file.write(chunk)

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member for the length of a block. Raise `BadData` for what is damaged in it."""
        with _readable(self.label), self._archive.open(name) as member:
            yield member


def check_name(label: str, name: str, known: Container[str]) -> None:
    """Raise `BadData` for a member whose name leads out of its archive, or is known."""
    if name.startswith("/") or "\\" in name or ".." in name.split("/") or "\0" in name:
        raise BadData(f"{label} holds a file called '{name[:200]}', a path that leads out of it.")
    if name in known:
        raise BadData(f"{label} holds '{name[:200]}' twice.")


def check_member(label: str, name: str, size: int | None, most: int) -> None:
    """Raise `BadData` for a member that is not there (None), or has more than so many bytes."""
    if size is None:
        raise BadData(f"{label} holds no '{name[:200]}'.")
    if size > most:
        raise BadData(f"{label}: '{name[:200]}' has {size:,} bytes; the job's memory_mb allows {most:,}.")


@contextmanager
def opened(file: BinaryIO, label: str) -> Iterator[Zip]:
    """Open an archive for the length of a block. Raise `BadData`."""
    with _readable(label):
        archive = zipfile.ZipFile(file)
    with archive:
        yield Zip(archive, label)


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise BadData(f"{label} is no readable zip archive: {str(error)[:200].rstrip('.')}.") from error
