"""HDF5 files that anyone may have written, read as plain arrays of numbers.

Only what lies in the file itself is followed: no external or soft links, no external or virtual data sets, no
filters that are plugins. Attributes and arrays are read after their sizes have been checked.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import h5py
import ml_dtypes
import numpy as np

from shared.errors import BadData
from worker.training.modelfiles.stored import Stored

#: Bytes of one attribute, at most (a model's whole configuration is one), and texts in one.
_ATTRIBUTE_BYTES = 16 << 20
_TEXTS_MOST = 10_000
#: Groups and arrays in one file, and groups in groups, at most.
_ENTRIES_MOST = 100_000
_DEPTH_MOST = 64
#: HDF5's own filters, and LZF, which h5py brings: deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
#: Bytes of a chunk that holds more than its array does, at most.
_CHUNK_BYTES = 1 << 20
#: Bytes of the widest number.
_WIDEST = 8
_LINKS = {h5py.h5l.TYPE_SOFT: "soft", h5py.h5l.TYPE_EXTERNAL: "external"}


class Tree(Protocol):
    """Groups in groups, with arrays in them."""

    label: str
    path: str

    def group(self, path: str) -> "Tree | None":
        """Return the group at a path below this one, or None. Raise `BadData` when it is something else."""

    def array(self, path: str) -> Stored | None:
        """Return the array at a path below this group, checked and not yet read, or None. Raise `BadData`."""

    def names(self) -> list[str]:
        """Return the names in this group."""

    def arrays(self) -> list[str]:
        """Return the paths, below this group, of all arrays in it. Raise `BadData` when there are too many."""


@contextmanager
def opened(file: BinaryIO, label: str) -> Iterator["Group"]:
    """Open a file for the length of a block. Raise `BadData` for what HDF5 cannot read."""
    with _readable(label):
        root = h5py.File(file, "r")
    with root:
        yield Group(root, label, "")


@contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise BadData(f"{label} is no readable HDF5 file: {line}.") from error


class Group:
    """One group of a file; `path` is where it stands."""

    def __init__(self, group: h5py.Group, label: str, path: str) -> None:
        """Read from `group`."""
        self._group, self.label, self.path = group, label, path

    def group(self, path: str) -> "Group | None":
        """Return the group at a path below this one, or None. Raise `BadData` when it is something else."""
        found = self._at(path)
        if found is None:
            return None
        if not isinstance(found, h5py.Group):
            raise BadData(f"{self.label}: '{self._below(path)}' must be a group.")
        return Group(found, self.label, self._below(path))

    def array(self, path: str) -> Stored | None:
        """Return the array at a path below this group, checked and not yet read, or None. Raise `BadData`."""
        found = self._at(path)
        return None if found is None else self._stored(found, self._below(path))

    def names(self) -> list[str]:
        """Return the names in this group."""
        with _readable(self.label):
            return list(self._group)

    def arrays(self) -> list[str]:
        """Return the paths, below this group, of all arrays in it. Raise `BadData` when there are too many."""
        found: list[str] = []
        waiting: list[tuple[str, Any, int]] = [("", self._group, 0)]
        seen = 0
        while waiting:
            path, here, depth = waiting.pop()
            if isinstance(here, h5py.Dataset):
                found.append(path)
            if not isinstance(here, h5py.Group):
                continue
            with _readable(self.label):
                names = list(here)
            seen += len(names)
            if seen > _ENTRIES_MOST or depth > _DEPTH_MOST:
                raise BadData(f"{self.label} holds more than {_ENTRIES_MOST} entries or nests them over {_DEPTH_MOST}.")
            below = [(f"{path}/{name}" if path else name, name) for name in names]
            waiting += [(there, self._child(here, name, self._below(there)), depth + 1) for there, name in below]
        return found

    def text(self, name: str) -> str | None:
        """Return an attribute that is one text, or None. Raise `BadData`."""
        value = self._attribute(name)
        return None if value is None else "".join(self._words(name, value)[:1])

    def texts(self, name: str) -> list[str] | None:
        """Return an attribute that is a list of texts, or None; Keras cuts a long one into parts."""
        value = self._attribute(name)
        if value is not None:
            return self._words(name, value)
        found: list[str] = []
        number = 0
        while (part := self._attribute(f"{name}{number}")) is not None:
            found += self._words(name, part)
            number += 1
        return found if number else None

    def _words(self, name: str, value: Any) -> list[str]:
        words = np.asarray(value).reshape(-1).tolist()
        if not all(isinstance(word, (str, bytes)) for word in words):
            raise BadData(f"{self.label}: the attribute '{name}' of '/{self.path}' must be text.")
        return [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in words]

    def _attribute(self, name: str) -> Any:
        with _readable(self.label):
            if name not in self._group.attrs:
                return None
            about = self._group.attrs.get_id(name)
            count = math.prod(about.shape)
            if not count:
                # An empty list has no type that says text, and no size that HDF5 would tell.
                return np.empty(0, "S1")
            sound = about.dtype.kind in "SU" or h5py.check_string_dtype(about.dtype) is not None
            if not sound or about.get_storage_size() > _ATTRIBUTE_BYTES or count > _TEXTS_MOST:
                raise BadData(f"{self.label}: the attribute '{name}' of '/{self.path}' is no text, or too long.")
            return self._group.attrs[name]

    def _at(self, path: str) -> Any:
        """Return what lies at a path, or None."""
        here: Any = self._group
        walked = self.path
        for part in path.split("/"):
            if not isinstance(here, h5py.Group) or part in {"", ".", ".."} or "\0" in part:
                raise BadData(f"{self.label}: '{self._below(path)[:200]}' is no path of this file.")
            walked = f"{walked}/{part}" if walked else part
            here = self._child(here, part, walked)
            if here is None:
                return None
        return here

    def _child(self, group: h5py.Group, name: str, path: str) -> Any:
        """Return what a group holds under a name, through a hard link only, or None."""
        encoded = name.encode("utf-8", "surrogateescape")
        with _readable(self.label):
            # h5py's `in` and `get` follow a link to look whether its end is there; these two do not.
            if not group.id.links.exists(encoded):
                return None
            kind = group.id.links.get_info(encoded).type
            if kind != h5py.h5l.TYPE_HARD:
                said = _LINKS.get(kind, "user-defined")
                raise BadData(f"{self.label}: '{path}' is a link ({said}); no links are followed.")
            return group[name]

    def _below(self, path: str) -> str:
        return f"{self.path}/{path}" if self.path else path

    def _stored(self, found: Any, path: str) -> Stored:
        if not isinstance(found, h5py.Dataset):
            raise BadData(f"{self.label}: '{path}' must be an array.")
        with _readable(self.label):
            dtype = _numbers(found)
            if dtype is None or found.shape is None:
                raise BadData(f"{self.label}: '{path}' holds {found.dtype}; only numbers of up to 64 bits are read.")
            if sentence := _outlandish(found):
                raise BadData(f"{self.label}: '{path}' {sentence}.")
            return Stored(self.label, path, tuple(found.shape), dtype, lambda: _values(found, dtype, self.label))


def _numbers(found: h5py.Dataset) -> np.dtype[Any] | None:
    """Return the type of an array's numbers, or None when it holds something else."""
    dtype: np.dtype[Any] = found.dtype
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        return None
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    if dtype.kind == "V" and dtype.itemsize == bfloat16.itemsize:
        # HDF5 knows no bfloat16: Keras stores its bytes.
        return bfloat16
    return dtype if dtype.kind in "biuf" and dtype.itemsize <= _WIDEST else None


def _outlandish(found: h5py.Dataset) -> str | None:
    """Return what an array does that no model file needs, or None."""
    if found.is_virtual or found.external:
        return "lies in another file"
    plan = found.id.get_create_plist()
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        return f"needs the filter {min(filters - _FILTERS)}, which is no part of HDF5"
    size = math.prod(found.shape) * found.dtype.itemsize
    if found.chunks is not None and math.prod(found.chunks) * found.dtype.itemsize > max(size, _CHUNK_BYTES):
        return "is stored in chunks that are larger than itself"
    return None


def _values(found: h5py.Dataset, dtype: np.dtype[Any], label: str) -> np.ndarray:
    with _readable(label):
        value = np.asarray(found[()])
    return value.view(dtype) if value.dtype.kind == "V" else value.astype(dtype.newbyteorder("="), copy=False)
