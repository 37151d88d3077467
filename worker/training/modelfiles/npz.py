"""Checkpoints of fitq (`.npz`: arrays, and a manifest that lists them), in files that anyone may have made."""

import json
import math
import tokenize
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from shared.errors import BadData
from worker.training import state
from worker.training.modelfiles import stored
from worker.training.modelfiles.archives import Zip
from worker.training.modelfiles.stored import Stored

MANIFEST = "manifest.npy"
#: Bytes of the manifest, and of one array's header, at most.
_MANIFEST_BYTES = 16 << 20
_HEADER_BYTES = 10_000
#: What the format is called in a manifest.
_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One variable that a manifest lists."""

    path: str
    dtype: str
    array: Stored


def manifest(archive: Zip) -> dict[str, Any]:
    """Return the manifest of a checkpoint. Raise `BadData`."""
    if MANIFEST not in archive.names:
        raise BadData(f"{archive.label} holds no 'manifest': it is no checkpoint of fitq.")
    found = _array(archive, MANIFEST)
    if found.dtype != np.uint8 or math.prod(found.shape) > _MANIFEST_BYTES:
        raise BadData(f"{archive.label}: the manifest must be JSON of at most {_MANIFEST_BYTES:,} bytes.")
    try:
        value = json.loads(found.read().tobytes())
    except (ValueError, RecursionError) as error:
        raise BadData(f"{archive.label}: the manifest is no JSON: {str(error)[:200]}.") from error
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        raise BadData(f"{archive.label}: the manifest must be an object with format {_FORMAT}.")
    return value


def entries(archive: Zip, listed: dict[str, Any], group: str) -> list[Entry]:
    """Return the variables of a group (`weights`, `seeds`, `optimizer`) as a manifest lists them. Raise `BadData`."""
    said = listed.get(group, [])
    if not isinstance(said, list):
        raise BadData(f"{archive.label}: '{group}' of the manifest must be a list.")
    return [_entry(archive, item, group, index) for index, item in enumerate(said)]


def _entry(archive: Zip, item: Any, group: str, index: int) -> Entry:
    name = f"{group}.{index}"
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("path", "dtype")):
        raise BadData(f"{archive.label}: the manifest must say path, dtype and shape of '{name}'.")
    array = _array(archive, f"{name}.npy")
    try:
        dtype = state.numpy_dtype(item["dtype"])
    except TypeError as error:
        raise BadData(f"{archive.label}: '{name}' has the unknown dtype '{item['dtype'][:40]}'.") from error
    if dtype.itemsize != array.dtype.itemsize or item.get("shape") != list(array.shape):
        raise BadData(f"{archive.label}: '{name}' is not of the dtype and shape that the manifest says.")
    said = item["dtype"]
    cooked = Stored(array.label, array.path, array.shape, dtype, lambda: state.cooked(array.read(), said))
    return Entry(item["path"], said, cooked)


def _array(archive: Zip, member: str) -> Stored:
    """Find an array of an `.npz` archive and check its header. Raise `BadData`."""
    name = member.removesuffix(".npy")
    if member not in archive.names:
        raise BadData(f"{archive.label} holds no array '{name}'.")
    with archive.member(member) as stream:
        shape, fortran, dtype = _header(stream, f"{archive.label}: '{name}'")
        size = math.prod(shape) * dtype.itemsize
        if size != archive.size(member) - stream.tell():
            raise BadData(f"{archive.label}: '{name}' has not as many bytes as its header says.")
    return Stored(archive.label, name, shape, dtype, lambda: _values(archive, member, shape, dtype, fortran=fortran))


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=_HEADER_BYTES)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise BadData(f"{what} is no readable array: {str(error).splitlines()[0][:200]}.") from error
    if dtype.hasobject or dtype.kind not in "biuf" or dtype.fields is not None or min(shape, default=0) < 0:
        raise BadData(f"{what} holds {dtype}; only numbers are read.")
    return shape, fortran, dtype


def _values(archive: Zip, member: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran: bool) -> np.ndarray:
    with archive.member(member) as stream:
        _header(stream, archive.label)
        flat = np.frombuffer(stream.read(), dtype)
    native = flat.astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(shape, order="F" if fortran else "C")


def match(archive: Zip, listed: dict[str, Any], group: str, variables: list[Any]) -> list[tuple[Any, Stored]]:
    """Pair a group's variables with a model's, in order. Raise `BadData` naming the first that does not fit."""
    found = entries(archive, listed, group)
    if len(found) != len(variables):
        raise BadData(f"{archive.label} holds {len(found)} variables of '{group}'; the model has {len(variables)}.")
    for entry, variable in zip(found, variables, strict=True):
        stored.check_fits(entry.array, variable, f"'{variable.path}'")
    return [(variable, entry.array) for entry, variable in zip(found, variables, strict=True)]
