"""Checkpoints of TensorFlow, which anyone may have written, read as plain arrays of numbers.

`PREFIX.index` is a table of names, and says of each array its type, its shape and where its bytes lie in the shards
`PREFIX.data-00000-of-00001` and on. TensorFlow's own reader ends the process for some that are broken, and wants files
with names; here they are open files, and nothing is read before its size has been compared.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import tensor_bundle_pb2, trackable_object_graph_pb2

from shared import store
from shared.errors import BadData
from worker.training.modelfiles import places, stored, tables
from worker.training.modelfiles.places import Archive, Place
from worker.training.modelfiles.stored import Stored

#: The key under which a checkpoint keeps the graph of objects that were saved.
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
#: Bytes of the index, and of the graph, at most.
_INDEX_BYTES = 16 << 20
_GRAPH_BYTES = 8 << 20
_SHARDS_MOST = 1_000
#: How TensorFlow calls the value of an object that is a variable.
_VALUE = "VARIABLE_VALUE"


class Bundle:
    """An open checkpoint: its arrays by name, and the graph of its objects."""

    def __init__(self, entries: dict[str, bytes], shards: list[BinaryIO], label: str) -> None:
        """Take the entries of its index as they stand there."""
        self.label = label
        self._entries, self._shards = entries, shards
        self._sizes = [shard.seek(0, 2) for shard in shards]
        self._graph: Graph | None = None

    @property
    def names(self) -> list[str]:
        """The names of its arrays."""
        return [name for name in self._entries if name]

    @property
    def graph(self) -> "Graph":
        """The graph of its objects. Raise `BadData` when it has none, as those of TensorFlow 1."""
        if self._graph is None:
            self._graph = Graph(self._text(_GRAPH), self.label)
        return self._graph

    def array(self, name: str) -> Stored:
        """Return an array, checked and not yet read. Raise `BadData`."""
        entry = self._entry(name)
        dtype = _numbers(entry.dtype)
        shape = tuple(dim.size for dim in entry.shape.dim)
        if dtype is None:
            raise BadData(f"{self.label}: '{name[:200]}' holds no plain numbers; only those are read.")
        if entry.slices or entry.shape.unknown_rank or min(shape, default=0) < 0:
            raise BadData(f"{self.label}: '{name[:200]}' is no whole array: it is in slices, or of an unknown shape.")
        if math.prod(shape) * dtype.itemsize != entry.size:
            raise BadData(f"{self.label}: '{name[:200]}' has {entry.size:,} bytes, not those of {stored.shown(shape)}.")
        return Stored(self.label, name, shape, dtype, lambda: _array(self._bytes(entry), dtype, shape))

    def _entry(self, name: str) -> Any:
        """Return what the index says of a name; its bytes are there. Raise `BadData`."""
        if name not in self._entries:
            raise BadData(f"{self.label} has no array '{name[:200]}'.")
        entry = _message(tensor_bundle_pb2.BundleEntryProto, self._entries[name], self.label)
        if not 0 <= entry.shard_id < len(self._shards):
            raise BadData(f"{self.label}: '{name[:200]}' lies in shard {entry.shard_id}; it has {len(self._shards)}.")
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > self._sizes[entry.shard_id]:
            raise BadData(f"{self.label}: shard {entry.shard_id} was cut: it ends before '{name[:200]}' does.")
        return entry

    def _bytes(self, entry: Any) -> bytes:
        shard = self._shards[entry.shard_id]
        shard.seek(entry.offset)
        data: bytes = shard.read(entry.size)
        if len(data) != entry.size:
            raise BadData(f"{self.label}: shard {entry.shard_id} became shorter while it was read.")
        return data

    def _text(self, name: str) -> bytes:
        """Return an array that is one text: its length, the length's checksum, and itself."""
        if name not in self._entries:
            raise BadData(
                f"{self.label} does not say which objects were saved: it is no checkpoint of TensorFlow 2, "
                "as model.save_weights writes it."
            )
        entry = self._entry(name)
        if entry.dtype != tf.string.as_datatype_enum or entry.size > _GRAPH_BYTES:
            raise BadData(f"{self.label}: the graph of its objects is no text of at most {_GRAPH_BYTES:,} bytes.")
        data = self._bytes(entry)
        try:
            length, at = tables.varint(data, 0)
        except tables.BrokenError as error:
            raise BadData(f"{self.label}: the graph of its objects is broken: {error}.") from error
        return data[at + 4 : at + 4 + length]


class Graph:
    """The objects of a checkpoint by number, the root 0, and what each calls the others."""

    def __init__(self, data: bytes, label: str) -> None:
        """Read the graph. Raise `BadData`."""
        self._nodes = _message(trackable_object_graph_pb2.TrackableObjectGraph, data, label).nodes
        self._children: dict[int, dict[str, int]] = {}

    def children(self, node: int) -> dict[str, int]:
        """Return an object's children by name."""
        if node not in self._children:
            there = self._nodes[node].children if 0 <= node < len(self._nodes) else ()
            self._children[node] = {one.local_name: one.node_id for one in there}
        return self._children[node]

    def value(self, node: int) -> tuple[str, str] | None:
        """Return under which name the checkpoint has a variable's value, and the variable's own name; or None."""
        there = self._nodes[node].attributes if 0 <= node < len(self._nodes) else ()
        found = next((one for one in there if one.name == _VALUE), None)
        return None if found is None else (found.checkpoint_key, found.full_name)

    def slots(self, node: int) -> Iterator[tuple[int, str, int]]:
        """Yield what an old optimizer keeps: for which variable, what, and in which."""
        for one in self._nodes[node].slot_variables if 0 <= node < len(self._nodes) else ():
            yield one.original_variable_node_id, one.slot_name, one.slot_variable_node_id


@contextmanager
def opened(place: Place, prefix: str, most: int) -> Iterator[Bundle]:
    """Open the checkpoint of that prefix, of at most so many bytes, for the length of a block. Raise `BadData`."""
    with ExitStack() as stack:
        entries = _index(place, prefix)
        shards = []
        for name in _shards(entries, prefix, place.label):
            shards.append(stack.enter_context(place.unpacked(name, most)))
            most -= shards[-1].seek(0, 2)
        yield Bundle(entries, shards, place.label)


def files(place: Place, prefix: str) -> list[str]:
    """Return the names of all files of the checkpoint of that prefix. Raise `BadData`."""
    return [prefix + store.INDEX, *_shards(_index(place, prefix), prefix, place.label)]


def prefix_in(archive: Archive) -> str:
    """Return the prefix of the one checkpoint in an archive. Raise `BadData` for none, and for several."""
    found = [name.removesuffix(store.INDEX) for name in places.visible(archive) if name.endswith(store.INDEX)]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"'{name[:60]}'" for name in (found or archive.names)[:8]) or "nothing"
    if found:
        raise BadData(f"{archive.label} holds {len(found)} checkpoints, {shown}: send the files of one.")
    raise BadData(
        f"{archive.label} is no model file: it holds neither a model, a manifest, nor an index of a TensorFlow "
        f"checkpoint, but {shown}."
    )


def _index(place: Place, prefix: str) -> dict[str, bytes]:
    with place.unpacked(prefix + store.INDEX, _INDEX_BYTES) as file:
        return tables.items(file.read(_INDEX_BYTES), f"{place.label}, '{prefix}{store.INDEX}',")


def _shards(entries: dict[str, bytes], prefix: str, label: str) -> list[str]:
    header = _message(tensor_bundle_pb2.BundleHeaderProto, entries.get("", b""), label)
    if header.endianness != tensor_bundle_pb2.BundleHeaderProto.LITTLE:
        raise BadData(f"{label} was written on a machine of another byte order; such are not read.")
    if not 1 <= header.num_shards <= _SHARDS_MOST:
        raise BadData(f"{label} says that it has {header.num_shards} shards; 1 to {_SHARDS_MOST} are read.")
    return [f"{prefix}.data-{one:05}-of-{header.num_shards:05}" for one in range(header.num_shards)]


def _message(kind: Any, data: bytes, label: str) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadData(f"{label} is no readable checkpoint of TensorFlow: '{kind.__name__}' is broken.") from error


def _numbers(dtype: int) -> np.dtype[Any] | None:
    """Return the type of an array's numbers, or None when it holds something else."""
    try:
        found = tf.as_dtype(dtype)
    except TypeError:
        return None
    plain = found == tf.bfloat16 or (found.is_numpy_compatible and np.dtype(found.as_numpy_dtype).kind in "biuf")
    return np.dtype(found.as_numpy_dtype) if plain and not found.is_quantized else None


def _array(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape)
