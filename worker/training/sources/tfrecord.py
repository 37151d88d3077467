"""TFRecord files of `tf.train.Example`: blocks of whole records, found by their lengths, parsed by a feature spec."""

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf
from tensorflow.python.lib.io import tf_record

from shared.errors import BadData
from shared.sources.files import Feature, TfrecordSource
from worker.training.sources import classes, picture
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place
from worker.training.sources.reader import BLOCK_BYTES, Field, Fields, Rows

#: Bytes of one record, at most.
_RECORD_MOST = 1 << 28
#: Bytes that are read at a time to find the records.
_READ = 1 << 20
#: A record's length and its checksum, before the data; after it comes another checksum of 4 bytes.
_HEAD = struct.Struct("<QI")
_TAIL = 4


@dataclass(frozen=True)
class _Records:
    """One file, and where its blocks of records begin."""

    file: DataFile
    offsets: np.ndarray
    starts: np.ndarray

    def read(self, block: int) -> list[bytes]:
        """Return a block's records, each compared with its checksum."""
        reader = tf_record.tf_record_random_reader(self.file.path)
        at = int(self.offsets[block])
        found: list[bytes] = []
        while at < self.offsets[block + 1]:
            try:
                record, following = reader.read(at)
            except (tf.errors.OpError, IndexError) as error:
                number = int(self.starts[block]) + len(found)
                raise BadData(f"{self.file.label} is damaged in record {number}, at byte {at}.") from error
            found.append(record)
            at = following
        self.file.check()
        return found


def _scan(file: DataFile) -> _Records:
    """Find the records by their lengths. Raise `BadData` naming the byte of what is none."""
    if file.at(0, 2) == b"\x1f\x8b":
        raise BadData(f"{file.label} is compressed; write TFRecord files without compression.")
    at, count, begun = 0, 0, 0
    offsets, starts = [0], [0]
    buffer, base = b"", 0
    while at < file.size:
        if not base <= at <= base + len(buffer) - _HEAD.size:
            buffer, base = file.at(at, _READ), at
        if at - base + _HEAD.size > len(buffer):
            raise BadData(f"{file.label} is cut short in record {count}, at byte {at}.")
        length, checksum = _HEAD.unpack_from(buffer, at - base)
        if checksum != _masked(buffer[at - base : at - base + 8]):
            raise BadData(f"{file.label} is no TFRecord file, or damaged, at byte {at} (record {count}).")
        end = at + _HEAD.size + length + _TAIL
        if length > _RECORD_MOST or end > file.size:
            what = "is cut short" if end > file.size else f"has more than {_RECORD_MOST >> 20} MB"
            raise BadData(f"{file.label} {what} in record {count}, at byte {at}.")
        at, count = end, count + 1
        if at - begun >= BLOCK_BYTES or at == file.size:
            offsets.append(at)
            starts.append(count)
            begun = at
    return _Records(file, np.array(offsets), np.array(starts))


@lru_cache(maxsize=1)
def _table() -> list[int]:
    """Return CRC-32C's table (RFC 3720, appendix B.4)."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _masked(data: bytes) -> int:
    """Return the checksum that TFRecord keeps of a length."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


@dataclass
class TfrecordReader:
    """TFRecord files whose records were counted."""

    source: TfrecordSource
    files: list[_Records]
    labels: bool
    class_names: tuple[str, ...] | None
    _held: tuple[int, Rows] | None = None

    @property
    def inputs(self) -> list[str]:
        """The features that are inputs."""
        return [name for name in self.source.features if name not in {self.source.label, self.source.sample_weight}]

    @property
    def x(self) -> Fields:
        """The input, or the inputs by their names where there are several."""
        found = {name: _field(self.source.features[name]) for name in self.inputs}
        return found if len(found) > 1 else found[self.inputs[0]]

    @property
    def y(self) -> Field | None:
        """The label, if there is one."""
        name = self.source.label if self.labels else None
        return None if name is None else _field(self.source.features[name])

    @property
    def weight(self) -> Field | None:
        """The sample weight, if there is one."""
        name = self.source.sample_weight if self.labels else None
        return None if name is None else _field(self.source.features[name])

    @property
    def starts(self) -> np.ndarray:
        """The first row of each block of each file."""
        counts = np.concatenate([np.diff(one.starts) for one in self.files])
        return np.concatenate([[0], np.cumsum(counts)])

    def read(self, first: int, end: int) -> Rows:
        """Return the rows from `first` up to `end`."""
        starts = self.starts
        blocks = range(int(np.searchsorted(starts, first, "right")) - 1, int(np.searchsorted(starts, end, "left")))
        records = [record for block in blocks for record in self._block(block)]
        begin = int(starts[blocks[0]])
        return self._rows(records[first - begin : end - begin], first)

    def _block(self, block: int) -> list[bytes]:
        for one in self.files:
            if block < len(one.starts) - 1:
                return one.read(block)
            block -= len(one.starts) - 1
        raise IndexError(block)

    def _rows(self, records: list[bytes], first: int) -> Rows:
        wanted = [*self.inputs, *(name for name in (self.source.label, self.source.sample_weight) if name)]
        wanted = wanted if self.labels else self.inputs
        try:
            parsed = tf.io.parse_example(tf.constant(records), {n: _parser(self.source.features[n]) for n in wanted})
        except (tf.errors.OpError, ValueError) as error:
            raise BadData(self._why(records, wanted, first)) from error
        values = {name: self._values(name, parsed[name].numpy(), first) for name in wanted}
        x = {name: values[name] for name in self.inputs} if len(self.inputs) > 1 else values[self.inputs[0]]
        label, weight = (name if self.labels else None for name in (self.source.label, self.source.sample_weight))
        return Rows(x, values[label] if label else None, values[weight] if weight else None)

    def _values(self, name: str, found: np.ndarray, first: int) -> np.ndarray:
        feature = self.source.features[name]
        if feature.dtype == "string":
            words = [value.decode("utf-8", "replace") for value in found]
            return classes.numbers(words, self.class_names or (), lambda row: self._place(first + row))
        if feature.decode is None:
            return found
        return np.stack([self._decoded(name, value, first + row) for row, value in enumerate(found)])

    def _decoded(self, name: str, value: bytes, row: int) -> np.ndarray:
        feature = self.source.features[name]
        place = f"{self._place(row)}, feature '{name}'"
        if feature.decode == "raw":
            kind = np.dtype(feature.dtype).newbyteorder("<")
            if len(value) != int(np.prod(feature.shape, initial=1)) * kind.itemsize:
                shape = tuple(feature.shape)
                raise BadData(f"{place}: {len(value)} bytes are no {feature.dtype} of shape {shape}.")
            return np.frombuffer(value, kind).reshape(feature.shape).astype(feature.dtype, copy=False)
        color = {1: "grayscale", 3: "rgb", 4: "rgba"}[feature.shape[2]]
        image: np.ndarray = picture.decoded(value, color, place).numpy()
        if image.shape != tuple(feature.shape):
            raise BadData(f"{place}: the image has shape {image.shape}; the feature spec says {tuple(feature.shape)}.")
        return image

    def _place(self, row: int) -> str:
        for one in self.files:
            if row < one.starts[-1]:
                return f"{one.file.label}, record {row}"
            row -= int(one.starts[-1])
        return "the data"

    def _why(self, records: list[bytes], wanted: list[str], first: int) -> str:
        """Say which record does not hold what the feature spec says, and how."""
        for row, record in enumerate(records):
            place = self._place(first + row)
            try:
                held = tf.train.Example.FromString(record).features.feature
            except Exception:  # noqa: BLE001 - protobuf's error has a name of its own in each implementation
                return f"{place} is no tf.train.Example."
            for name in wanted:
                feature = self.source.features[name]
                if name not in held:
                    names = ", ".join(f"'{one[:60]}'" for one in sorted(held)[:8])
                    return f"{place} has no feature '{name}'; it has {names or 'none'}."
                kind = held[name].WhichOneof("kind") or "nothing"
                asked = _kind(feature)
                if kind != f"{asked}_list":
                    return (
                        f"{place}: feature '{name}' holds {kind.removesuffix('_list')}; the feature spec says {asked}."
                    )
                count = len(getattr(held[name], kind).value)
                size = 1 if asked == "bytes" else int(np.prod(feature.shape, initial=1))
                if count != size:
                    shape = tuple(feature.shape)
                    return f"{place}: feature '{name}' holds {count} values; the feature spec says shape {shape}."
        return f"{self._place(first)} or a later one does not fit the feature spec."


def _kind(feature: Feature) -> str:
    """Return how an example calls what the feature spec asks for."""
    if feature.decode is not None or feature.dtype == "string":
        return "bytes"
    return "int64" if feature.dtype == "int64" else "float"


def _field(feature: Feature) -> Field:
    return Field(tuple(feature.shape), np.dtype(np.int64 if feature.dtype == "string" else feature.dtype))


def _parser(feature: Feature) -> tf.io.FixedLenFeature:
    if feature.decode is not None or feature.dtype == "string":
        return tf.io.FixedLenFeature([], tf.string)
    return tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))


def opened(
    source: TfrecordSource, where: Place, *, labels: bool, class_names: tuple[str, ...] | None
) -> TfrecordReader:
    """Open TFRecord files and count their records. Raise `BadData`."""
    paths = source.tfrecord if isinstance(source.tfrecord, list) else [source.tfrecord]
    files = [_scan(where.open(path)) for path in paths]
    if not sum(int(one.starts[-1]) for one in files):
        raise BadData(f"{paths[0]} holds no records.")
    label = source.features[source.label] if source.label is not None and labels else None
    words = label is not None and label.dtype == "string"
    return TfrecordReader(source, files, labels, class_names if words else None)
