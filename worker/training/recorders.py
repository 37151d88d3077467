"""Keras's callbacks that write files, and the one that took a function: what they do is Keras's, where is the job's."""

import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import keras

from shared import names
from shared.errors import BadSpec
from worker.training.faults import explained
from worker.training.files import Files

_CONTENT_TYPES = {
    ".keras": "application/zip",
    ".h5": "application/x-hdf5",
    ".weights.h5": "application/x-hdf5",
}


class RateTable(keras.callbacks.LearningRateScheduler):  # type: ignore[misc]
    """Keras's LearningRateScheduler, whose function is a table: the rate of each epoch, from 0."""

    not_state = frozenset({"schedule"})

    def __init__(self, rates: Sequence[float], verbose: int = 0) -> None:
        """Take the rates; the spec has seen that there is one for each epoch."""
        super().__init__(lambda epoch, _rate: float(rates[epoch]), verbose)


class CSVLogger(keras.callbacks.CSVLogger):  # type: ignore[misc]
    """Keras's CSVLogger, writing to the job's file; what Keras would append to is not there in a job."""

    not_state = frozenset({"filename", "append_header"})

    def __init__(self, files: Files, filename: str, separator: str = ",", *, append: bool = False) -> None:
        """Take Keras's arguments."""
        super().__init__(filename, separator, append)
        self._log = files.log(names.plain(filename), "text/csv")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Begin, or go on where the checkpoint was."""
        self.append_header = not self._log.size
        self.csv_file = io.StringIO(newline="")
        self.writer = self.keys = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's line."""
        with explained(f"CSVLogger cannot write epoch {epoch}"):
            try:
                super().on_epoch_end(epoch, logs)
            except csv.Error as error:
                raise ValueError(str(error)) from error
        self._log.append(self.csv_file.getvalue().encode())
        self.csv_file.seek(0)
        self.csv_file.truncate()


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):  # type: ignore[misc]
    """Keras's ModelCheckpoint, whose files are the job's; what they are called is filled in without `str.format`."""

    not_state = frozenset({"filepath"})

    def __init__(self, files: Files, **arguments: Any) -> None:
        """Take Keras's arguments."""
        super().__init__(**arguments)
        self._files = files
        #: Whether it looks at single batches.
        self.by_batch = self.save_freq != "epoch"

    def _save_model(self, epoch: int, batch: int | None, logs: dict[str, Any] | None) -> None:
        """Save where Keras would, under a number that the job's file has."""
        logs = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, (int, float))}
        name = self._name(epoch, batch, logs)
        if self.save_best_only and self.monitor_op is None:
            with explained("ModelCheckpoint cannot tell what is better"):
                self._set_monitor_op()
        if not self._should_save_model(epoch, batch, logs, name):
            return
        suffix = ".weights.h5" if self.save_weights_only else PurePosixPath(name).suffix
        path = self._files.place(suffix)
        with explained("ModelCheckpoint cannot save the model"):
            save = self.model.save_weights if self.save_weights_only else self.model.save
            save(str(path), overwrite=True)
        self._files.keep(name, _CONTENT_TYPES[suffix], path)

    def _name(self, epoch: int, batch: int | None, logs: dict[str, float]) -> str:
        place = {"epoch": epoch + 1} | ({} if batch is None else {"batch": batch + 1})
        try:
            return names.fill(self.filepath, {**place, **logs})
        except KeyError as error:
            known = ", ".join([*place, *logs])
            raise BadSpec(f"ModelCheckpoint's filepath names {error}, which is not there; there are {known}.") from None
        except ValueError as error:
            raise BadSpec(f"ModelCheckpoint's filepath '{self.filepath}' gives no name: {error}.") from error
