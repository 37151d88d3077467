"""Where sources are read from, and what each of them gives."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared import store
from worker.training.sources.datafile import DataFile
from worker.training.sources.reader import Fields


class Content(Protocol):
    """Something that a job's data is read from: a file, or a folder of files."""

    @property
    def label(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    @property
    def stamp(self) -> str:
        """What is the same again only where nothing was changed."""

    def sha256(self) -> str:
        """Return the SHA-256 of what is in it. Raise `BadData` when it was changed since it was opened."""


@dataclass(frozen=True)
class Place:
    """Where sources are read from, and how much memory their arrays may take."""

    volume: Path
    datasets: Path | None
    timeout_s: float
    budget: int
    #: What was opened here so far, by its label.
    contents: dict[str, Content] = field(default_factory=dict)

    def open(self, path: str) -> DataFile:
        """Open a FILE of a spec, which is the same for all who ask here. Raise `BadData`."""
        known = self.contents.get(path)
        if isinstance(known, DataFile):
            return known
        with store.open_data(self.volume, path) as file:
            opened = DataFile(path, file)
        self.contents[path] = opened
        return opened

    def note(self, label: str, path: Path) -> None:
        """Remember a file that somebody else has read, wherever it lies."""
        with path.open("rb") as file:
            self.contents[label] = DataFile(label, file)


@dataclass(frozen=True)
class Held:
    """What a source holds that can only be loaded whole, known without loading it."""

    #: All of it, also where `rows` takes a part.
    rows: int
    x: Fields
    y: Fields | None = None
    weight: Fields | None = None
    #: Bytes that loading it takes at the most, where that is more than what is left of it.
    peak: int = 0
