"""Where sources are read from, and what each of them gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where sources are read from, and how much memory their arrays may take."""

    volume: Path
    datasets: Path | None
    timeout_s: float
    budget: int


@dataclass(frozen=True)
class Held:
    """What a source holds, known without loading it: rows, each input's shape of a sample, bytes of one number."""

    rows: int
    sample: Any
    itemsize: int
