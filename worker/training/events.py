"""TensorBoard's event files, as Keras's callback writes them, without TensorBoard's package.

An event file is a sequence of TFRecords (length, checksum, protocol buffer, checksum), so it may be cut and continued
at any record. Tags, steps, values and folders are those of `keras.callbacks.TensorBoard`.
"""

import struct
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from shared import names
from worker.training import crc32c
from worker.training.files import Files, Log

#: Buckets of a histogram, as in TensorBoard.
_BUCKETS = 30
_CONTENT_TYPE = "application/octet-stream"
#: How TensorBoard knows what to draw: the plugin's name and its class of data (SCALAR, TENSOR).
_SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class=1)
_HISTOGRAM = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "histograms"}, data_class=2)
_GRAPH = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "graph_keras_model", "content": b"1"})


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", crc32c.masked(data))


def record(data: bytes) -> bytes:
    """Return data as a TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


class _Run:
    """One folder of events, which TensorBoard shows as one run."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def write(self, step: int, values: list[Any]) -> None:
        """Write one event with these values; the first one says the format's version."""
        now = time.time()
        if not self.log.size:
            self.log.append(record(tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2").SerializeToString()))
        event = tf.compat.v1.Event(wall_time=now, step=step, summary=tf.compat.v1.Summary(value=values))
        self.log.append(record(event.SerializeToString()))

    def scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Write numbers by their tags, in float32 as Keras does."""
        if scalars:
            self.write(step, [_value(tag, np.float32(number), _SCALAR) for tag, number in scalars.items()])


def _value(tag: str, data: Any, metadata: Any) -> Any:
    return tf.compat.v1.Summary.Value(tag=tag, tensor=tf.make_tensor_proto(data), metadata=metadata)


class EventLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Keras's TensorBoard: metrics of epochs or batches, histograms of weights, the model's graph."""

    def __init__(
        self,
        files: Files,
        *,
        log_dir: str = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        **_off: Any,
    ) -> None:
        """Take Keras's arguments."""
        super().__init__()
        # Always the same for a job: whatever attempt writes it last, there is one file.
        folder = names.plain(log_dir)
        name = f"events.out.tfevents.{_seconds(files.job_id):010d}.{files.job_id}.v2"
        self._train = _Run(files.log(f"{folder}/train/{name}", _CONTENT_TYPE))
        self._validation = _Run(files.log(f"{folder}/validation/{name}", _CONTENT_TYPE))
        self._histogram_freq, self._write_graph = histogram_freq, write_graph
        self._timed = write_steps_per_second
        self._every = 1 if update_freq == "batch" else update_freq
        #: Whether it looks at single batches: that costs a look at the device after each.
        self.by_batch = self._every != "epoch" or write_steps_per_second
        self.batch = 0
        self._batch_began = self._epoch_began = 0.0
        self._epoch_step = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Write the model's graph, once in a job's life."""
        if self._write_graph and not self._train.log.size:
            self._train.write(0, [_value("keras", self.model.to_json(), _GRAPH)])

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Count."""
        self.batch += 1
        self._batch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Write a batch's metrics where they were asked for."""
        if self._every == "epoch" or self.batch % int(self._every):
            return
        scalars = {f"batch_{name}": value for name, value in (logs or {}).items() if isinstance(value, (int, float))}
        if self._timed:
            scalars["batch_steps_per_second"] = 1.0 / max(time.monotonic() - self._batch_began, 1e-9)
        self._train.scalars(self.batch, scalars)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write a validation's metrics by the optimizer's steps."""
        tagged = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._validation.scalars(int(self.model.optimizer.iterations), tagged)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Note when it began."""
        self._epoch_began, self._epoch_step = time.monotonic(), int(self.model.optimizer.iterations)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write an epoch's metrics, and its weights where they were asked for."""
        logs = logs or {}
        train = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
        train["epoch_learning_rate"] = float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))
        if self._timed:
            steps = int(self.model.optimizer.iterations) - self._epoch_step
            train["epoch_steps_per_second"] = steps / max(time.monotonic() - self._epoch_began, 1e-9)
        self._train.scalars(epoch, train)
        validation = {name: value for name, value in logs.items() if name.startswith("val_")}
        self._validation.scalars(epoch, {f"epoch_{name[4:]}": value for name, value in validation.items()})
        if self._histogram_freq and epoch % self._histogram_freq == 0:
            self._histograms(epoch)

    @property
    def _optimizer(self) -> Any:
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _histograms(self, epoch: int) -> None:
        weights = [weight for layer in self.model.layers for weight in layer.weights]
        for weight in weights:
            tag = f"{weight.path.replace(':', '_')}/histogram"
            self._train.write(epoch, [_value(tag, buckets(weight.numpy()), _HISTOGRAM)])


def buckets(data: np.ndarray) -> np.ndarray:
    """Return a histogram as TensorBoard's (left edge, right edge, count); what is not finite is left out."""
    flat = np.asarray(data, dtype=np.float64).reshape(-1)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return np.zeros((_BUCKETS, 3))
    low, high = flat.min(), flat.max()
    edges = np.linspace(low, high, _BUCKETS + 1)
    if low == high:
        counts = np.array([0] * (_BUCKETS - 1) + [flat.size])
    else:
        indices = np.floor((flat - low) / ((high - low) / _BUCKETS)).astype(np.int64)
        counts = np.bincount(np.minimum(indices, _BUCKETS - 1), minlength=_BUCKETS)
    return np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)


def _seconds(job_id: str) -> int:
    """Return when a job was submitted: its id is a UUID of version 7, which begins with the time."""
    return int(job_id.removeprefix("job_").replace("-", "")[:12], 16) // 1000
