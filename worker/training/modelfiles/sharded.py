"""Weights that Keras 3 saved in several files: `NAME.weights.json` lists them, each is HDF5 with some of the arrays."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from shared.errors import BadData
from worker.training.modelfiles import hdf5, keras_zip
from worker.training.modelfiles.hdf5 import Tree
from worker.training.modelfiles.places import Place
from worker.training.modelfiles.stored import Stored

ENDING = ".weights.json"
_SHARD_ENDING = ".weights.h5"
#: Bytes of the list, and files in it, at most.
_LIST_BYTES = 16 << 20
_FILES_MOST = 1_000


class _Merged:
    """The groups of that path in several files, as one."""

    def __init__(self, parts: list[Tree], label: str, path: str) -> None:
        self._parts, self.label, self.path = parts, label, path

    def group(self, path: str) -> "_Merged | None":
        found = [there for one in self._parts if (there := one.group(path)) is not None]
        return _Merged(found, self.label, f"{self.path}/{path}" if self.path else path) if found else None

    def array(self, path: str) -> Stored | None:
        return next((there for one in self._parts if (there := one.array(path)) is not None), None)

    def names(self) -> list[str]:
        return sorted({name for one in self._parts for name in one.names()})

    def arrays(self) -> list[str]:
        return sorted({path for one in self._parts for path in one.arrays()})


@contextmanager
def opened(place: Place, name: str, most: int) -> Iterator[Tree]:
    """Open the files of a list, of at most so many bytes, for the length of a block. Raise `BadData`."""
    with ExitStack() as stack:
        parts: list[Tree] = []
        for shard in files(place, name)[1:]:
            file = stack.enter_context(place.unpacked(shard, most))
            most -= file.seek(0, 2)
            file.seek(0)
            parts.append(stack.enter_context(hdf5.opened(file, f"{place.label}, '{shard}',")))
        yield _Merged(parts, place.label, "")


def files(place: Place, name: str) -> list[str]:
    """Return the names of a list and of all files in it. Raise `BadData`."""
    with place.unpacked(name, _LIST_BYTES) as file:
        said = keras_zip.json_object(file.read(_LIST_BYTES), f"{place.label}, '{name}',")
    folder = name.rpartition("/")[0]
    return [name, *(f"{folder}/{shard}" if folder else shard for shard in _shards(said.get("weight_map"), place.label))]


def _shards(said: Any, label: str) -> list[str]:
    values = list(said.values()) if isinstance(said, dict) else []
    found = {one for value in values for one in (value if isinstance(value, list) else [value])}
    if not found or len(found) > _FILES_MOST or not all(_is_shard(one) for one in found):
        raise BadData(
            f"{label} names no weights: its 'weight_map' must name 1 to {_FILES_MOST} files *{_SHARD_ENDING}."
        )
    return sorted(found)


def _is_shard(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(_SHARD_ENDING) and "/" not in name and "\\" not in name
