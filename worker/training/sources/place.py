"""Where sources are read from, and what each of them gives."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: x, and y where the source has one.
Arrays = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Place:
    """Where sources are read from, and how much memory their arrays may take."""

    volume: Path
    datasets: Path | None
    timeout_s: float
    budget: int


@dataclass(frozen=True)
class Held:
    """What a source holds, known without loading it: rows, shape of one sample, bytes of one of its numbers."""

    rows: int
    sample: tuple[int, ...]
    itemsize: int
