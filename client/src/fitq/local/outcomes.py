"""What a finished job came to, as Keras's calls return it."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fitq.calls import Evaluate, Fit, Predict
from fitq.errors import BadDownload
from fitq.jobs import Job
from fitq.local import callbacks, checkpoint, state
from fitq.local.callbacks import Translated
from fitq.local.checkpoint import Contents

#: What stands for numbers that JSON lacks.
_KINDS = {"nan": math.nan, "+inf": math.inf, "-inf": -math.inf}


def number(row: Mapping[str, Any]) -> float:
    """Return a metric's value, NaN and the infinities included."""
    return float(row["value"]) if row["value"] is not None else _KINDS.get(str(row["value_kind"]), math.nan)


def history(job: Job, call: Fit, translated: Translated, *, steps: int | None) -> Any:
    """Return a real `keras.callbacks.History`, kept in the model as `fit` does; its `job` is the job."""
    made = translated.history or keras.callbacks.History()
    made.job = job
    made.set_params({"verbose": call.verbose, "epochs": call.epochs, "steps": steps})
    made.set_model(call.model)
    made.on_train_begin()
    by_epoch: dict[int, dict[str, float]] = {}
    for row in job.metrics():
        by_epoch.setdefault(int(row["epoch"]), {})[str(row["name"])] = number(row)
    for epoch in sorted(by_epoch):
        made.on_epoch_end(epoch, _ordered(by_epoch[epoch]))
    call.model.history = made
    return made


def _ordered(logs: dict[str, float]) -> dict[str, float]:
    """Return an epoch's logs in the order in which Keras writes them: training's before validation's."""
    return {name: logs[name] for name in sorted(logs, key=lambda name: (name.startswith("val_"), name))}


def load(job: Job, model: Any, name: str = "final") -> Contents:
    """Set a model to one of the job's checkpoints; return what that holds. Raise `CannotTravel`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        job.download_checkpoint(name, path)
        contents = checkpoint.read(path)
    state.restore(model, contents)
    return contents


def trained(job: Job, call: Fit, translated: Translated) -> None:
    """Leave in the model and the callbacks what training has made of them."""
    contents = load(job, call.model)
    call.model.stop_training = bool(contents.progress.get("stop_training"))
    callbacks.write_back(translated.objects, contents.progress.get("callbacks") or [])


def measured(job: Job, call: Evaluate) -> Any:
    """Return what `evaluate` returns: a dictionary, a list beginning with the loss, or the loss alone."""
    value = job.result()["value"]
    kinds = value.get("value_kinds") or {}
    logs = {name: number({"value": one, "value_kind": kinds.get(name)}) for name, one in value["metrics"].items()}
    if call.return_dict:
        return logs
    return call.model._flatten_metrics_in_order(logs)  # noqa: SLF001 - the order is Keras's own business


def predicted(job: Job, call: Predict) -> Any:
    """Return the predictions in the structure of the model's outputs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.npz"
        job.download_artifact("predictions.npz", path)
        with np.load(path, allow_pickle=False) as archive:
            outputs = [archive[name] for name in archive.files]
    # A Sequential has one output; a functional model keeps its structure to itself.
    structure = getattr(call.model, "_outputs_struct", call.model.outputs[0])
    if len(keras.tree.flatten(structure)) != len(outputs):
        raise BadDownload(f"The job has predicted {len(outputs)} outputs; the model has other ones.")
    return keras.tree.pack_sequence_as(structure, outputs)
