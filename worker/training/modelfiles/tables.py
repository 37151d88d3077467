"""TensorFlow's tables of sorted keys and values (LevelDB's format): what the `.index` of a checkpoint is.

Blocks of entries, whose keys leave out what they share with the one before; a block that says where those are; and a
footer that says where that one is.
"""

from collections.abc import Iterator

from shared.errors import BadData
from worker.training import crc32c

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES = 48
#: Bytes behind a block: how it is compressed, and its checksum.
_TRAILER_BYTES = 5
_PLAIN = 0
#: Entries in one table, and bytes of all their keys, at most.
_ENTRIES_MOST = 200_000
_KEYS_BYTES = 64 << 20
#: Bytes of one key, at most.
_KEY_BYTES = 4_000
#: Bytes of a number of 64 bits, at most.
_VARINT_BYTES = 10


class BrokenError(Exception):
    """The data is not what it should be; the message says what it is instead."""


def items(data: bytes, label: str) -> dict[str, bytes]:
    """Return the entries of a table. Raise `BadData` for what is damaged, too much, or out of order."""
    try:
        return dict(_items(data))
    except (BrokenError, UnicodeDecodeError) as error:
        raise BadData(f"{label} is no readable index of a TensorFlow checkpoint: {error}.") from error


def _items(data: bytes) -> Iterator[tuple[str, bytes]]:
    if len(data) < _FOOTER_BYTES or not data.endswith(_MAGIC):
        raise BrokenError("it does not end as one")
    footer = data[-_FOOTER_BYTES:]
    _, at = _handle(footer, 0)
    place, _ = _handle(footer, at)
    last, end, count, room = b"", 0, 0, _KEYS_BYTES
    for _, handle in _entries(_block(data, place)):
        there, _ = _handle(handle, 0)
        if there[0] < end:
            raise BrokenError("its blocks overlap")
        end = sum(there) + _TRAILER_BYTES
        for key, value in _entries(_block(data, there)):
            count, room = count + 1, room - len(key)
            if count > _ENTRIES_MOST or room < 0:
                raise BrokenError(f"it has more than {_ENTRIES_MOST:,} entries, or very long ones")
            if count > 1 and key <= last:
                raise BrokenError("its keys are not in order")
            last = key
            yield key.decode(), value


def _block(data: bytes, place: tuple[int, int]) -> bytes:
    start, size = place
    found = data[start : start + size + _TRAILER_BYTES]
    if len(found) < size + _TRAILER_BYTES:
        raise BrokenError("it was cut")
    body, checksum = found[:-4], int.from_bytes(found[-4:], "little")
    if crc32c.masked(body) != checksum:
        raise BrokenError("a checksum is wrong")
    if body[-1] != _PLAIN:
        raise BrokenError("it is compressed")
    return body[:-1]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; behind them stands where whole keys are, which nobody needs here."""
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end or shared + own > _KEY_BYTES:
            raise BrokenError("an entry is longer than it may be")
        key = key[:shared] + block[at : at + own]
        at += own + size
        yield key, block[at - size : at]


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return where a block is, as (start, size), and where the data goes on."""
    start, at = varint(data, at)
    size, at = varint(data, at)
    return (start, size), at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where the data goes on. Raise `BrokenError`."""
    value = 0
    for index, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, at + index + 1
    raise BrokenError("a number does not end")
