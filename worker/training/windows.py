"""In which order data that is streamed is taken: blocks, windows of them, batches. A pure function of the seed.

Memory holds a window of rows at a time. A pass over the data permutes the source's blocks (what one look
into the file gives), lays them end to end, cuts the sequence into windows of equal length, and permutes
the rows within each window. Each permutation follows from (seed, pass) or (seed, pass, window) alone: to
go on at any step, the window of that step is read and nothing before it.
"""

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

#: Streams of random numbers of one pass: the order of the blocks, and that within each window.
_BLOCKS, _WITHIN = 1, 2


@dataclass(frozen=True, eq=False)
class Windows:
    """The endless sequence of windows of one data set, pass after pass."""

    #: First row of each block, in order, and the number of rows at the end.
    starts: np.ndarray
    batch_size: int
    #: Rows of a window, about; made a multiple of the batch.
    about: int
    shuffle: bool = False
    seed: int = 0

    @property
    def rows(self) -> int:
        """Rows of one pass."""
        return int(self.starts[-1])

    @property
    def batches(self) -> int:
        """Batches of one window, so that no batch lies in two."""
        return max(1, self.about // self.batch_size)

    @property
    def length(self) -> int:
        """Rows of each window but the last of a pass."""
        return self.batches * self.batch_size

    @property
    def steps_per_pass(self) -> int:
        """Batches of one pass."""
        return math.ceil(self.rows / self.batch_size)

    @property
    def plan(self) -> str:
        """Windows and blocks in words: in others, the rows come in another order."""
        blocks = hashlib.sha256(self.starts.astype("<i8").tobytes()).hexdigest()[:8]
        return f"streamed in windows of {self.length} rows over {len(self.starts) - 1} blocks ({blocks})"

    def find(self, step: int) -> tuple[int, int, int]:
        """Return a global step's pass, its window in the pass, and its batch in the window."""
        data_pass, batch = divmod(step, self.steps_per_pass)
        return data_pass, *divmod(batch, self.batches)

    def ranges(self, data_pass: int, window: int) -> list[tuple[int, int]]:
        """Return the ranges of rows (first, end) that a window is read from, in the file's order."""
        begin, end = window * self.length, min((window + 1) * self.length, self.rows)
        if not self.shuffle:
            return [(begin, end)]
        blocks, ends = self._laid_out(data_pass)
        found = []
        for place in range(int(np.searchsorted(ends, begin, "right")), len(blocks)):
            lengths = self._lengths[blocks[place]]
            at = ends[place] - lengths
            if at >= end:
                break
            first = int(self.starts[blocks[place]] + max(begin - at, 0))
            found.append((first, int(self.starts[blocks[place]] + min(end - at, lengths))))
        return _joined(sorted(found))

    def cuts(self, window: int, batch: int) -> np.ndarray:
        """Return where each batch of a window begins in it, from one on, and where the last one ends."""
        count = min(self.length, self.rows - window * self.length)
        return np.append(np.arange(batch * self.batch_size, count, self.batch_size), count)

    def order(self, data_pass: int, window: int, count: int) -> np.ndarray | None:
        """Return the permutation of a window's rows; None where they stay as they are read."""
        if not self.shuffle:
            return None
        return _generator(self.seed, data_pass, _WITHIN, window).permutation(count)

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def _laid_out(self, data_pass: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a pass's blocks in order, and where each ends in the sequence of rows."""
        blocks = _permutation(self.seed, data_pass, len(self._lengths))
        return blocks, np.cumsum(self._lengths[blocks])


@dataclass(frozen=True, eq=False)
class RunWindows:
    """The windows of batches that have sizes of their own and come as they stand, each pass as the first."""

    #: Where each batch of a pass ends.
    ends: np.ndarray
    #: Rows of a window, about; a batch that is longer is one alone.
    about: int
    shuffle: bool = False

    @property
    def steps_per_pass(self) -> int:
        """Batches of one pass."""
        return len(self.ends)

    @cached_property
    def _firsts(self) -> list[int]:
        """The first batch of each window, and the number of batches at the end."""
        firsts = [0]
        while firsts[-1] < len(self.ends):
            following = int(np.searchsorted(self.ends, self._begin(firsts[-1]) + self.about, "right"))
            firsts.append(max(following, firsts[-1] + 1))
        return firsts

    def _begin(self, batch: int) -> int:
        return int(self.ends[batch - 1]) if batch else 0

    def find(self, step: int) -> tuple[int, int, int]:
        """Return a global step's pass, its window in the pass, and its batch in the window."""
        data_pass, batch = divmod(step, self.steps_per_pass)
        window = bisect_right(self._firsts, batch) - 1
        return data_pass, window, batch - self._firsts[window]

    def ranges(self, data_pass: int, window: int) -> list[tuple[int, int]]:  # noqa: ARG002 - as that of `Windows`
        """Return the range of rows (first, end) that a window is read from."""
        return [(self._begin(self._firsts[window]), int(self.ends[self._firsts[window + 1] - 1]))]

    def cuts(self, window: int, batch: int) -> np.ndarray:
        """Return where each batch of a window begins in it, from one on, and where the last one ends."""
        first, following = self._firsts[window], self._firsts[window + 1]
        found: np.ndarray = np.append(self._begin(first + batch), self.ends[first + batch : following])
        return found - self._begin(first)

    def order(self, data_pass: int, window: int, count: int) -> None:
        """Rows stay as they are read."""


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted ranges with neighbours made one."""
    joined = [ranges[0]]
    for first, end in ranges[1:]:
        if first == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


@lru_cache(maxsize=4)
def _permutation(seed: int, data_pass: int, blocks: int) -> np.ndarray:
    return _generator(seed, data_pass, _BLOCKS).permutation(blocks)


def _generator(*key: int) -> np.random.Generator:
    # The bit generator by name: `default_rng` may choose another one in a later NumPy.
    return np.random.Generator(np.random.PCG64(list(key)))
