"""Where weights of several files lie: in an archive, or below the volume's `data` folder."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from shared import store


class Place(Protocol):
    """Where files lie."""

    @property
    def label(self) -> str:
        """The place as messages name it."""

    def unpacked(self, name: str, most: int) -> AbstractContextManager[BinaryIO]:
        """Open one file of at most so many bytes for the length of a block. Raise `BadData`."""


class Archive(Place, Protocol):
    """An archive of files."""

    @property
    def names(self) -> list[str]:
        """The names of the files."""


@dataclass(frozen=True)
class Beside:
    """The volume's `data` folder."""

    volume: Path
    label: str

    @contextmanager
    def unpacked(self, name: str, most: int) -> Iterator[BinaryIO]:  # noqa: ARG002 - nothing is unpacked
        """Open a file. Raise `BadData`."""
        with store.open_data(self.volume, name) as file:
            yield file


def visible(archive: Archive) -> list[str]:
    """Return the names of an archive's files, without those that a Mac hides beside each."""
    return [name for name in archive.names if not name.rpartition("/")[2].startswith(".")]
