"""Arrays from files that anyone may have written: `.npy` and `.npz`, read without trust.

Nothing is allocated before the header has been checked against the bytes that are really there, and
against the memory that the job has. No pickles: object arrays are refused.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from shared.errors import BadData

#: Bytes of an `.npy` header, at most (NumPy's own limit).
_HEADER_BYTES = 10_000
#: Arrays of an `.npz` file, at most.
_MEMBERS = 10_000
#: An archive member's local header up to the lengths of its name and its extra field, which end it.
_LOCAL = struct.Struct("<26xHH")
#: Kinds of numbers: bool, signed, unsigned, float.
_KINDS = "biuf"


@dataclass(frozen=True)
class Header:
    """What an array's header says: shape, order and type."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of the data."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(file: BinaryIO, label: str, budget: int) -> np.ndarray:
    """Return the array of an `.npy` file; `budget` is the most bytes that it may take. Raise `BadData`."""
    header = npy_header(file, label)
    return _values(file, header, label, budget)


def npy_header(file: BinaryIO, label: str) -> Header:
    """Return the checked header of an `.npy` file and leave the file at its data. Raise `BadData`."""
    return _header(file, os.fstat(file.fileno()).st_size, label)


def read_npz(file: BinaryIO, label: str, names: list[str], budget: int) -> list[np.ndarray]:
    """Return the named arrays of an `.npz` file; together they may take `budget` bytes. Raise `BadData`."""
    found = []
    with _readable(label):
        for name, header, member in _members(file, label, names):
            found.append(_values(member, header, f"{label}, array '{name}',", budget))
            budget -= header.bytes
    return found


def npz_headers(file: BinaryIO, label: str, names: list[str]) -> list[Header]:
    """Return the checked headers of the named arrays of an `.npz` file. Raise `BadData`."""
    with _readable(label):
        return [header for _, header, _ in _members(file, label, names)]


def npz_places(file: BinaryIO, label: str, names: list[str]) -> list[tuple[Header, int | None]]:
    """Return the named arrays' headers, and at which byte of the file their values begin; None where compressed."""
    found = []
    with _readable(label), zipfile.ZipFile(file) as archive:
        for name, header, member in _members(file, label, names):
            info = _entry(archive.infolist(), name, label)
            stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
            found.append((header, _begin(file, info, label) + member.tell() if stored else None))
    return found


def _begin(file: BinaryIO, info: zipfile.ZipInfo, label: str) -> int:
    """Return at which byte of the file a member begins, from its local header (APPNOTE.TXT, 4.3.7)."""
    local = os.pread(file.fileno(), _LOCAL.size, info.header_offset)
    if len(local) < _LOCAL.size:
        raise BadData(f"{label} is truncated.")
    name, extra = _LOCAL.unpack(local)
    begin = info.header_offset + _LOCAL.size + int(name) + int(extra)
    if begin + info.file_size > os.fstat(file.fileno()).st_size:
        raise BadData(f"{label} is truncated.")
    return begin


def _members(file: BinaryIO, label: str, names: list[str]) -> Iterator[tuple[str, Header, IO[bytes]]]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MEMBERS:
            raise BadData(f"{label} holds {len(entries)} arrays; at most {_MEMBERS} are read.")
        for name in names:
            info = _entry(entries, name, label)
            with archive.open(info) as member:
                yield name, _header(member, info.file_size, f"{label}, array '{name}',"), member


def _entry(entries: list[zipfile.ZipInfo], name: str, label: str) -> zipfile.ZipInfo:
    found = [info for info in entries if info.filename in {name, f"{name}.npy"}]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadData(f"{label} holds '{name}' {len(found)} times.")
    held = ", ".join(f"'{info.filename.removesuffix('.npy')[:60]}'" for info in entries[:8]) or "nothing"
    raise BadData(f"{label} has no array '{name}'; it holds {held}.")


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BadData(f"{label} is no readable .npz file: {error}.") from error


def _header(stream: IO[bytes], size: int, label: str) -> Header:
    """Read and check a header; `size` is that of header and data together."""
    try:
        version = npy.read_magic(stream)
        if version not in {(1, 0), (2, 0)}:
            raise BadData(f"{label} has .npy version {version[0]}.{version[1]}; 1.0 and 2.0 are read.")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=_HEADER_BYTES)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise BadData(f"{label} is no readable .npy array: {str(error).splitlines()[0][:200]}.") from error
    header = Header(shape, fortran, dtype)
    _check(header, size - stream.tell(), label)
    return header


def _check(header: Header, there: int, label: str) -> None:
    dtype, shape = header.dtype, header.shape
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize > 8:  # noqa: PLR2004 - bytes of a 64-bit number
        raise BadData(f"{label} holds {dtype}; only booleans, integers and floats of up to 64 bits are read.")
    if any(isinstance(n, bool) or n < 0 for n in shape) or not shape:
        raise BadData(f"{label} has shape {shape}; the first axis must count the rows.")
    if 0 in shape:
        raise BadData(f"{label} is empty: its shape is {shape}.")
    if header.bytes != there:
        what = "truncated" if header.bytes > there else "longer than it says"
        raise BadData(f"{label} is {what}: shape {shape} of {dtype} takes {header.bytes} bytes, {there} are there.")


def _values(stream: IO[bytes], header: Header, label: str, budget: int) -> np.ndarray:
    if header.bytes > budget:
        raise BadData(
            f"{label} takes {header.bytes >> 20} MB; {max(budget, 0) >> 20} MB of the job's memory_mb are left for it."
        )
    flat = np.empty(math.prod(header.shape), header.dtype)
    view = memoryview(flat.view(np.uint8))  # type: ignore[arg-type]
    filled = 0
    while filled < header.bytes:
        count = stream.readinto(view[filled : filled + (1 << 24)])  # type: ignore[attr-defined]
        if not count:
            raise BadData(f"{label} is truncated: {filled} of {header.bytes} bytes are there.")
        filled += count
    native = flat.astype(header.dtype.newbyteorder("="), copy=False)
    return native.reshape(header.shape, order="F" if header.fortran else "C")
