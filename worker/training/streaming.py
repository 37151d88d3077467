"""Steps over data that is streamed: windows of rows come through `tf.data` while the model works on the last one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from worker.training.samples import Samples, Streamed
from worker.training.windows import RunWindows, Windows

#: Windows that are read ahead.
_AHEAD = 1


@dataclass(eq=False)
class Stream:
    """The batches of streamed data, in the order of their global steps, from whichever step on is asked for."""

    streamed: Streamed
    windows: Windows | RunWindows
    _next: int | None = field(default=None, init=False)
    _batches: Iterator[Any] | None = field(default=None, init=False)
    _held: Any = field(default=None, init=False)
    _error: Exception | None = field(default=None, init=False)

    def batch(self, step: int) -> tuple[Any, ...]:
        """Return the batch of a global step as tensors: `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

        Steps that follow each other are read ahead; any other is sought: its window is read, and none before it.
        Raise `BadData` for what cannot be read.
        """
        if not self.windows.shuffle:
            # Each pass is as the first: what is read ahead at its end serves the next one.
            step %= self.windows.steps_per_pass
        if self._batches is None or step != self._next:
            # Held with its iterator: TensorFlow finds the Python function in it until the iterator has ended.
            self._held = self._dataset(step)
            self._batches = iter(self._held)
        try:
            found: tuple[Any, ...] = next(self._batches)
        except tf.errors.OpError:
            if self._error is None:
                raise
            # tf.data tells of it in words of its own.
            raise self._error from None
        self._next = step + 1 if self.windows.shuffle else (step + 1) % self.windows.steps_per_pass
        return found

    def signature(self, batch_length: int | None) -> tuple[Any, ...]:
        """Return the type of a batch of so many rows, None where they differ."""
        specs: tuple[Any, ...] = keras.tree.map_structure(
            lambda a: tf.TensorSpec([batch_length, *a.shape[1:]], a.dtype), self.streamed.head(1).parts()
        )
        return specs

    def _dataset(self, step: int) -> Any:
        def batches(window: tuple[Any, ...], cuts: Any) -> Any:
            """Cut a window."""
            numbers = tf.data.Dataset.range(tf.shape(cuts, tf.int64)[0] - 1)
            return numbers.map(lambda n: keras.tree.map_structure(lambda a: a[cuts[n] : cuts[n + 1]], window))

        signature = (self.signature(None), tf.TensorSpec([None], tf.int64))
        windows = tf.data.Dataset.from_generator(lambda: self._windows(step), output_signature=signature)
        return windows.prefetch(_AHEAD).flat_map(batches)

    def _windows(self, step: int) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
        """Yield window after window, without an end, from that of a step on; and where the batches lie in it."""
        try:
            while True:
                data_pass, window, batch = self.windows.find(step)
                cuts = self.windows.cuts(window, batch)
                yield self._window(data_pass, window).parts(), cuts
                step += len(cuts) - 1
        except Exception as error:
            self._error = error
            raise

    def _window(self, data_pass: int, window: int) -> Samples:
        samples = self.streamed.read(self.windows.ranges(data_pass, window))
        order = self.windows.order(data_pass, window, len(samples))
        return samples if order is None else samples.map(lambda array: array[order])
