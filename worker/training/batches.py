"""Which rows each step takes: a pure function of (seed, global step), never of how often a process restarted."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np


@dataclass(frozen=True)
class Order:
    """The endless sequence of batches of one data set: pass after pass, the last batch of each may be smaller."""

    rows: int
    batch_size: int
    shuffle: bool = False
    seed: int = 0

    @property
    def steps_per_pass(self) -> int:
        """Batches in one pass over the data."""
        return math.ceil(self.rows / self.batch_size)

    def steps(self, asked: int | None, *, repeat: bool) -> int:
        """Return how many steps to take: a pass, or as many as were asked for, beyond one pass only to `repeat`."""
        if asked is None:
            return self.steps_per_pass
        return asked if repeat else min(asked, self.steps_per_pass)

    @property
    def batch_length(self) -> int | None:
        """Rows of every batch; None when the last of a pass is smaller.

        As a graph's shape it is the one that `Model.fit` has, and therefore gives the same bits.
        """
        length = min(self.batch_size, self.rows)
        return None if self.rows % length else length

    def indices(self, step: int) -> np.ndarray:
        """Return the row numbers of the batch at a global step; int32 or int64, at most `batch_size` of them."""
        data_pass, batch = divmod(step, self.steps_per_pass)
        rows = permutation(self.seed, data_pass, self.rows) if self.shuffle else in_order(self.rows)
        return rows[batch * self.batch_size : (batch + 1) * self.batch_size]


@dataclass(frozen=True)
class Runs(Order):
    """Batches of sizes of their own, in the order of the rows."""

    #: (rows, count) of consecutive batches of equal size.
    runs: tuple[tuple[int, int], ...] = ()

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each batch of a pass ends."""
        sizes, counts = np.array(self.runs, dtype=np.int64).T
        return np.cumsum(np.repeat(sizes, counts))

    @property
    def steps_per_pass(self) -> int:
        """Batches in one pass over the data."""
        return len(self.ends)

    @property
    def batch_length(self) -> int | None:
        """Rows of every batch; None where they differ."""
        sizes = {size for size, _ in self.runs}
        return sizes.pop() if len(sizes) == 1 else None

    def indices(self, step: int) -> np.ndarray:
        """Return the row numbers of the batch at a global step."""
        batch = step % self.steps_per_pass
        return in_order(self.rows)[self.ends[batch - 1] if batch else 0 : self.ends[batch]]


def order(
    rows: int,
    batch_size: int,
    runs: tuple[tuple[int, int], ...] | None,
    *,
    shuffle: bool = False,
    seed: int = 0,
) -> Order:
    """Return the order of batches: of the size asked for, or of the sizes that the data itself says."""
    if runs is None:
        return Order(rows, batch_size, shuffle, seed)
    return Runs(rows, max(size for size, _ in runs), runs=runs)


@lru_cache(maxsize=2)
def permutation(seed: int, data_pass: int, rows: int) -> np.ndarray:
    """Return the shuffled row numbers of one pass over the data."""
    # The bit generator by name: `default_rng` may choose another one in a later NumPy.
    return np.random.Generator(np.random.PCG64([seed, data_pass])).permutation(in_order(rows))


@lru_cache(maxsize=2)
def in_order(rows: int) -> np.ndarray:
    """Return the row numbers from 0."""
    return np.arange(rows, dtype=np.int32 if rows <= np.iinfo(np.int32).max else np.int64)
