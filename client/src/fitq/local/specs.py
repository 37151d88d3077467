"""Keras's calls as job specs: what is refused, what is sent, what is asked of the worker."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from fitq.calls import Evaluate, Extras, Fit, Predict
from fitq.errors import CannotTravel
from fitq.local import architecture, arrays, batches, callbacks, checkpoint, compiled, progress, scalars, sources, state
from fitq.local.batches import Asked
from fitq.local.callbacks import Translated
from fitq.local.sources import Data, Upload

#: MiB that a job asks for at least, and what Keras itself takes of it.
_LEAST_MB, _KERAS_MB = 2048, 1024
#: Bytes of weights kept in memory on their way.
_IN_MEMORY = 64 << 20


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to be submitted: everything that it names has been sent."""

    spec: dict[str, Any]
    #: Batches of one pass, or of one epoch.
    steps: int
    callbacks: Translated | None = None


def of_fit(call: Fit, upload: Upload) -> Prepared:
    """Return a train job. Everything is checked before anything is sent. Raise `CannotTravel`."""
    progress.level(call.verbose)
    call = scalars.plain(call)
    architecture.check(call.model)
    _check_fit(call)
    call = replace(call, steps_per_epoch=call.steps_per_epoch or batches.epoch_of_changing(call.x))
    most = batches.most_bytes(call.extras.max_dataset_mb)
    asked = Asked("x", call.steps_per_epoch, "steps_per_epoch", call.epochs - call.initial_epoch)
    train = sources.read(call.x, call.y, call.sample_weight, asked, most)
    call = replace(call, steps_per_epoch=call.steps_per_epoch or train.per_epoch)
    if call.class_weight is not None:
        _check_class_weight(train)
    validation = _validation(call, most)
    architecture.build(call.model, train.x)
    compile_ = compiled.described(call.model)
    translated = callbacks.translated(call.callbacks, call.model, initial_epoch=call.initial_epoch, epochs=call.epochs)
    described = architecture.described(call.model)
    compile_["continue_optimizer"] = state.begins(call.model)
    data: dict[str, Any] = {"train": sources.sent(train, upload), "shuffle": bool(call.shuffle) and not train.lengths}
    if isinstance(validation, Data):
        data["validation"] = sources.sent(validation, upload)
    elif validation is not None:
        data["validation"] = {"split": validation}
    held = [train, *([validation] if isinstance(validation, Data) else [])]
    spec = {
        "kind": "train",
        "model": _model(call.model, described, upload, optimizer=compile_["continue_optimizer"]),
        "data": data,
        "compile": compile_,
        "fit": _fit(call, train, validation),
        "callbacks": translated.specs,
        **_job(call.extras, call.model, held),
    }
    batch_size, split = call.batch_size or 32, validation if isinstance(validation, float) else 0.0
    return Prepared(spec, call.steps_per_epoch or _steps(train, batch_size, split), translated)


def _steps(data: Data, batch_size: int, split: float = 0.0) -> int:
    """Return the batches of one pass; `split` is the part of the rows that is kept for validation."""
    return data.count or math.ceil(math.floor(data.rows * (1.0 - split)) / batch_size)


def _check_fit(call: Fit) -> None:
    """Refuse arguments that contradict each other, or that only Keras here could honour."""
    if call.epochs <= call.initial_epoch:
        raise CannotTravel(
            f"epochs={call.epochs} must be more than initial_epoch={call.initial_epoch}: else there is no job to make."
        )
    if not isinstance(call.shuffle, bool):
        raise CannotTravel(f"shuffle={call.shuffle!r} cannot travel: it is True or False.")
    if call.validation_split and batches.is_stream(call.x):
        raise CannotTravel("validation_split needs arrays; give validation_data=… beside a data set.")


def _check_class_weight(train: Data) -> None:
    """Refuse what Keras refuses beside class weights."""
    if train.sample_weight is not None:
        raise CannotTravel("class_weight and sample_weight cannot be given at once: multiply them into sample_weight.")
    if not isinstance(train.y, np.ndarray):
        raise CannotTravel("class_weight needs a model of one output: give a sample_weight for each output instead.")


def _validation(call: Fit, most: int) -> Data | float | None:
    """Return the validation's data, or which part of the training data it is."""
    given = call.validation_data
    if given is None:
        return call.validation_split or None
    asked = Asked("validation_data", call.validation_steps, "validation_steps")
    if batches.is_stream(given):
        return sources.read(given, None, None, asked, most)
    if not isinstance(given, (tuple, list)) or len(given) not in {1, 2, 3}:
        raise CannotTravel("validation_data must be (x, y), (x, y, sample_weight) or a tf.data.Dataset.")
    x, y, weights = (*given, None, None)[:3]
    return sources.read(x, y, weights, asked, most)


def _fit(call: Fit, train: Data, validation: Data | float | None) -> dict[str, Any]:
    fit: dict[str, Any] = {
        "epochs": call.epochs,
        "initial_epoch": call.initial_epoch,
        "validation_freq": call.validation_freq,
        # Keras trains on; its TerminateOnNaN does not.
        "on_nan": "continue",
    }
    if train.lengths is None:
        fit["batch_size"] = call.batch_size or 32
    if call.steps_per_epoch is not None:
        fit["steps_per_epoch"] = call.steps_per_epoch
    if isinstance(validation, Data) and validation.lengths is not None:
        # A data set that ended before the steps asked for is all that there is.
        if call.validation_steps is not None and validation.count == call.validation_steps:
            fit["validation_steps"] = call.validation_steps
    elif validation is not None:
        if call.validation_steps is not None:
            fit["validation_steps"] = call.validation_steps
        fit["validation_batch_size"] = call.validation_batch_size or call.batch_size or 32
    if call.class_weight is not None:
        fit["class_weight"] = {str(key): value for key, value in call.class_weight.items()}
    return fit


def of_evaluate(call: Evaluate, upload: Upload) -> Prepared:
    """Return an evaluate job. Raise `CannotTravel`."""
    progress.level(call.verbose)
    call = scalars.plain(call)
    callbacks.refuse_all(call.callbacks, "evaluate")
    architecture.check(call.model)
    most = batches.most_bytes(call.extras.max_dataset_mb)
    test = sources.read(call.x, call.y, call.sample_weight, Asked("x", call.steps, "steps"), most)
    architecture.build(call.model, test.x)
    compile_ = compiled.described(call.model)
    if test.y is not None:
        compiled.prepare(call.model, *(arrays.mapped(lambda one: one[:2], part) for part in (test.x, test.y)))
    described = architecture.described(call.model)
    spec = {
        "kind": "evaluate",
        "data": {"test": sources.sent(test, upload)},
        "model": _model(call.model, described, upload),
        "compile": compile_,
        **_batching(call.batch_size, call.steps, test),
        **_job(call.extras, call.model, [test]),
    }
    return Prepared(spec, _asked(test, call.steps, call.batch_size))


def of_predict(call: Predict, upload: Upload) -> Prepared:
    """Return a predict job. Raise `CannotTravel`."""
    progress.level(call.verbose)
    call = scalars.plain(call)
    callbacks.refuse_all(call.callbacks, "predict")
    architecture.check(call.model)
    most = batches.most_bytes(call.extras.max_dataset_mb)
    read = sources.read(call.x, None, None, Asked("x", call.steps, "steps"), most)
    # A data set of (x, y) may be predicted, too: Keras leaves y alone.
    given = Data(read.x, lengths=read.lengths, count=read.count)
    architecture.build(call.model, given.x)
    described = architecture.described(call.model)
    spec = {
        "kind": "predict",
        "data": {"input": sources.sent(given, upload)},
        "model": _model(call.model, described, upload),
        **_batching(call.batch_size, call.steps, given),
        **_job(call.extras, call.model, [given]),
    }
    return Prepared(spec, _asked(given, call.steps, call.batch_size))


def _asked(data: Data, steps: int | None, batch_size: int | None) -> int:
    return steps or _steps(data, batch_size or 32)


def _batching(batch_size: int | None, steps: int | None, data: Data) -> dict[str, Any]:
    made: dict[str, Any] = {} if data.lengths is not None else {"batch_size": batch_size or 32}
    if steps is not None:
        made["steps"] = steps
    return made


def _model(model: Any, described: dict[str, Any], upload: Upload, *, optimizer: bool = False) -> dict[str, Any]:
    """Upload the model's variables and return the spec's model."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        contents = state.captured(model, optimizer=optimizer)
        checkpoint.write(file, contents, keras_version=keras.__version__)  # type: ignore[arg-type]
        file.seek(0)
        return {"architecture": described, "weights": upload(file, "weights.npz")}  # type: ignore[arg-type]


def _job(extras: Extras, model: Any, held: list[Data]) -> dict[str, Any]:
    """Return what every job has, as far as it was asked for."""
    resources: dict[str, Any] = dict(extras.resources or {})
    resources.setdefault("memory_mb", _memory_mb(model, held))
    if extras.timeout_s is not None:
        resources["time_limit_s"] = float(extras.timeout_s)
    made: dict[str, Any] = {"resources": resources, "priority": extras.priority}
    if extras.name is not None:
        made["name"] = extras.name
    if extras.tags:
        made["tags"] = _texts(extras.tags)
    if extras.seed is not None:
        made["seed"] = extras.seed
    return made


def _texts(tags: Mapping[str, str]) -> dict[str, str]:
    return {str(key): str(value) for key, value in tags.items()}


def _memory_mb(model: Any, held: list[Data]) -> int:
    """Return what a job is likely to take: Keras, the data twice, and weights, gradients and slots of training."""
    weights: int = sum(math.prod(one.shape) * 4 for one in model.weights)
    return max(_LEAST_MB, _KERAS_MB + (2 * sum(one.bytes for one in held) + 8 * weights) // 2**20)
