"""The loop over steps: a model's own step functions, compiled, over data that stays in memory.

The numerics are those of `Model.fit`, `evaluate` and `predict`: the same step functions on the same
batches. What differs is that the position is a number, from which the rows of a step follow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils.python_utils import pythonify_logs

from worker.training.batches import Order, Runs
from worker.training.faults import explained, values_explained
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.training.samples import Samples, Streamed
from worker.training.streaming import Stream
from worker.training.windows import RunWindows, Windows

#: The plan of rows that come as they stand, streamed or not.
IN_ORDER = "read in order"
#: What a step works on → what the step function returns.
Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Loop:
    """One model's step over one data set, and in which order the steps take the rows."""

    step: Step
    order: Order
    #: What the step with a global number works on: a batch, or its row numbers.
    given: Callable[[int], Any]
    #: How the rows come, in words that change when their order does.
    plan: str

    def run(self, step: int) -> Any:
        """Run the step with this global number."""
        return self.step(self.given(step))


def loop(model: Any, step: Callable[[Any], Any], samples: Samples | Streamed, order: Order, what: str) -> Loop:
    """Return the loop of a model's `train_step`, `test_step` or `predict_step` over samples.

    Its first run compiles, and raises `BadSpec` "<what>: …" for what Keras cannot do.
    """
    if isinstance(samples, Streamed):
        return _streamed(model, step, samples, order, what)
    tensors = keras.tree.map_structure(tf.convert_to_tensor, samples.parts())

    def on_rows(rows: Any) -> Any:
        return step(keras.tree.map_structure(lambda tensor: tf.gather(tensor, rows), tensors))

    rows = tf.TensorSpec([order.batch_length], order.indices(0).dtype)
    return Loop(
        _explaining(_compiled(model, on_rows, rows), what),
        order,
        lambda number: tf.constant(order.indices(number)),
        "kept in memory and shuffled" if order.shuffle else IN_ORDER,
    )


def _streamed(model: Any, step: Callable[[Any], Any], samples: Streamed, order: Order, what: str) -> Loop:
    windows: Windows | RunWindows
    if isinstance(order, Runs):
        windows, plan = RunWindows(order.ends, samples.window), IN_ORDER
    else:
        windows = Windows(samples.reader.starts, order.batch_size, samples.window, order.shuffle, order.seed)
        plan = windows.plan if order.shuffle else IN_ORDER
    stream = Stream(samples, windows)
    compiled = _compiled(model, step, stream.signature(order.batch_length))
    return Loop(_explaining(compiled, what), order, stream.batch, plan)


def _compiled(model: Any, function: Callable[[Any], Any], signature: Any) -> Callable[[Any], Any]:
    """Compile as Keras's trainer: XLA where the model was compiled with it, no rewriting of Python."""
    if model.run_eagerly:
        return function
    compiled: Callable[[Any], Any] = tf.function(
        function, input_signature=[signature], autograph=False, jit_compile=model.jit_compile
    )
    return compiled


def _explaining(function: Callable[[Any], Any], what: str) -> Step:
    """Explain errors of the first run, in which Keras traces the model; of later ones only those of values."""
    explain = explained

    def run(given: Any) -> Any:
        nonlocal explain
        with explain(what):
            result = function(given)
        explain = values_explained
        return result

    return run


def logs_of(model: Any) -> dict[str, float]:
    """Return the model's metrics now, by the names and with the values that Keras logs."""
    return plain(model.get_metrics_result())


def plain(logs: dict[str, Any]) -> dict[str, float]:
    """Return Keras's logs flat and as plain floats, sorted by name as Keras does.

    A metric of several numbers (F1Score without an average) becomes one for each: `f1_score_0`, `f1_score_1`.
    """
    flat: dict[str, float] = {}
    for name, value in pythonify_logs(logs).items():
        numbers = np.asarray(value, dtype="float64").reshape(-1)
        names = [name] if np.ndim(value) == 0 else [f"{name}_{index}" for index in range(len(numbers))]
        flat.update(zip(names, map(float, numbers), strict=True))
    return flat


def evaluate(
    model: Any,
    testing: Loop,
    report: Report,
    pulse: Pulse,
    *,
    steps: int | None = None,
    epoch: int = 0,
    hooks: Any = None,
    batch_hooks: bool = False,
    stops: frozenset[str] = frozenset({"release"}),
) -> dict[str, float] | str:
    """Return the metrics over the data in order; or, when asked to stop in one of the modes `stops`, the mode.

    `steps` cuts the pass short or goes on with the next, as Keras's `validation_steps` on a repeated data set; it
    begins at the first row. The model's metrics are reset first.
    """
    count = steps or testing.order.steps_per_pass
    hooks = hooks or keras.callbacks.CallbackList()
    hooks.on_test_begin()
    model.reset_metrics()
    for step in range(count):
        if (mode := report.stop_mode()) in stops:
            return str(mode)
        if batch_hooks:
            hooks.on_test_batch_begin(step)
        logs = testing.run(step)
        if batch_hooks:
            hooks.on_test_batch_end(step, logs)
        pulse.beat(epoch, step + 1, partial(plain, logs))
    logs = logs_of(model)
    hooks.on_test_end(logs)
    return logs


def predictions(predicting: Loop, report: Report, pulse: Pulse, steps: int) -> Iterator[Any]:
    """Yield the outputs of so many batches in order, pass after pass; fewer when asked to stop."""
    for step in range(steps):
        if report.stop_mode() is not None:
            return
        yield keras.tree.map_structure(lambda tensor: tensor.numpy(), predicting.run(step))
        pulse.beat(0, step + 1, dict)
