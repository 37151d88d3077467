"""Uploads: content goes to the server once, in pieces, and goes on where it broke off."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from fitq import errors
from fitq.connection import Connection, path

#: Told how many bytes the server has, and how many there are.
Progress = Callable[[int, int], None]
Source = Path | str | bytes | bytearray | memoryview | BinaryIO

#: Bytes of one request; what of it has arrived stays when the connection breaks.
CHUNK = 16 << 20
#: Bytes that are read, hashed or sent at a time.
PIECE = 1 << 18
#: Seconds before each further try in a row that brought nothing.
DELAYS_S = (0.1, 0.5, 2.0, 5.0, 10.0)
#: Seconds between two looks at an upload that somebody else sends at the same time.
LOOK_S = 0.3
#: Bytes a second that a server verifies, at least: so much longer may its last answer take.
_VERIFIED_PER_S = 20e6

_AGAIN = (errors.NoServer, errors.Unavailable, errors.Conflict, errors.NotFound)


def upload(connection: Connection, source: Source, *, name: str | None = None, progress: Progress | None = None) -> str:
    """Bring content to the server, unless it is there; return its reference, `sha256:…`."""
    with _opened(source) as file:
        return _Upload(connection, file, name or _name(source), progress or (lambda done, total: None)).run()


class _Upload:
    """One content on its way, from where its file stands to the file's end."""

    def __init__(self, connection: Connection, file: BinaryIO, name: str | None, progress: Progress) -> None:
        self._connection = connection
        self._file = file
        self._start = file.tell()
        self._progress = progress
        self._sha256, self._size = _measured(file)
        self._asked = {"sha256": self._sha256, "bytes": self._size, "name": name}
        self._delays = iter(DELAYS_S)
        self._furthest = -1
        self._spoiled = False
        #: Whether somebody else's bytes came before ours the last time.
        self._crowded = False

    def run(self) -> str:
        if not self._size:
            raise errors.BadUpload("An empty file cannot be uploaded: it holds no data.")
        while True:
            try:
                at = self._ask()
                if at["complete"]:
                    self._progress(self._size, self._size)
                    return str(at["ref"])
                if not self._left_to_another(at["offset"]):
                    self._send(at["offset"])
            except _AGAIN as error:
                self._pause(error)
            except errors.Invalid as error:
                self._begin_anew(error)

    def _left_to_another(self, offset: int) -> bool:
        """Look after a while instead of sending, as long as somebody else who sends the same gets on."""
        moved = offset > self._furthest
        self._furthest = offset
        if moved:
            self._delays = iter(DELAYS_S)
        self._crowded = self._crowded and moved
        if self._crowded:
            self._progress(offset, self._size)
            time.sleep(LOOK_S)
        return self._crowded

    def _pause(self, error: errors.FitqError) -> None:
        """Wait before the next try; raise the error when so many in a row brought nothing."""
        if (delay := next(self._delays, None)) is None:
            raise error
        self._crowded = isinstance(error, errors.Conflict)
        time.sleep(delay)

    def _begin_anew(self, error: errors.Invalid) -> None:
        """Send all of it once more: another sender's bytes may have been among ours, but not each time."""
        if error.code != "other_content":
            raise error
        if self._spoiled:
            raise errors.BadUpload("The file changed while it was uploaded; try again.") from error
        self._spoiled = True
        self._furthest = -1

    def _ask(self) -> Any:
        """Return how far the server is; once there is nothing to send, it may verify first."""
        return self._connection.ask(path("uploads"), self._asked, wait_s=self._size / _VERIFIED_PER_S)

    def _send(self, offset: int) -> None:
        """Send chunk after chunk to the end."""
        while offset < self._size:
            length = min(CHUNK, self._size - offset)
            pieces = self._pieces(offset, length)
            place = path("uploads", self._sha256)
            wait_s = self._size / _VERIFIED_PER_S
            said = self._connection.append(place, pieces, offset=offset, length=length, wait_s=wait_s)
            if said["complete"]:
                return
            offset = said["offset"]

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        self._file.seek(self._start + offset)
        end = offset + length
        while offset < end:
            piece = self._file.read(min(PIECE, end - offset))
            if not piece:
                raise errors.BadUpload("The file became shorter while it was uploaded.")
            yield piece
            offset += len(piece)
            self._progress(offset, self._size)


def _measured(file: BinaryIO) -> tuple[str, int]:
    """Return SHA-256 and size of what follows in a file."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """Open a source so that it can be read twice; one that cannot be is written to a temporary file."""
    if isinstance(source, Path | str):
        with _readable(Path(source)) as file:
            yield file
    elif isinstance(source, bytes | bytearray | memoryview):
        yield BytesIO(source)
    elif source.seekable():
        yield source
    else:
        with tempfile.TemporaryFile() as copy:
            while piece := source.read(PIECE):
                copy.write(piece)
            copy.seek(0)
            yield copy


def _readable(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise errors.BadUpload(f"{source}: {error.strerror}.") from error


def _name(source: Source) -> str | None:
    """Return what a source is called, if it is called anything that a list can show."""
    said = source if isinstance(source, Path | str) else getattr(source, "name", None)
    name = Path(said).name if isinstance(said, Path | str) else ""
    return name if name.isprintable() and 0 < len(name) <= 200 else None  # noqa: PLR2004 - the server's limit
