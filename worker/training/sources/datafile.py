"""A user's file that stays open for as long as somebody reads from it."""

import os
import weakref
from pathlib import Path
from typing import BinaryIO

from shared import store
from shared.errors import BadData


class DataFile:
    """A file of the volume, opened once and read at any place; it is closed with the last who holds it."""

    def __init__(self, volume: Path, path: str) -> None:
        """Open a file as `store.open_data` does. Raise `BadData`."""
        #: What messages call it.
        self.label = path
        with store.open_data(volume, path) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    @property
    def path(self) -> str:
        """A path that opens this very file again, whatever the name stands for by then."""
        return f"/proc/self/fd/{self._descriptor}"

    def stream(self) -> BinaryIO:
        """Return the file as Python's own, from its beginning on; this object must outlive it."""
        file = os.fdopen(self._descriptor, "rb", buffering=0, closefd=False)
        file.seek(0)
        return file

    def into(self, view: memoryview, offset: int) -> None:
        """Fill a buffer from a place on. Raise `BadData` when the file ends before.

        Not a memory map: a file that shrinks under one kills the process.
        """
        filled = 0
        while filled < len(view):
            count = os.preadv(self._descriptor, [view[filled:]], offset + filled)
            if not count:
                raise BadData(f"{self.label} was cut short while it was read: byte {offset + filled} is not there.")
            filled += count

    def at(self, offset: int, count: int) -> bytes:
        """Return the bytes at a place; fewer at the end of the file."""
        wanted = max(0, min(count, self.size - offset))
        buffer = bytearray(wanted)
        self.into(memoryview(buffer), offset)
        return bytes(buffer)
