"""The predict job."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from shared import store
from shared.data_spec import Source
from shared.errors import BadSpec, FieldError
from shared.sources.arrays import SampleSource
from shared.spec import PredictSpec
from worker.training import batches as batching
from worker.training import data, engine, footprint, models, origins, sizing
from worker.training.faults import explained
from worker.training.port import Report
from worker.training.predictions import CLASS_AXES, SINGLE, Answer, Classes, Npz, Outputs, Parquet, Sink
from worker.training.pulse import Pulse
from worker.wire import Artifact, Assignment, Finished, Stopped

#: The media type of each way to save.
_CONTENT_TYPES = {"npz": "application/x-npz", "parquet": "application/vnd.apache.parquet"}


class _Cut(Exception):
    """The job was asked to stop before all was predicted: no file is to be."""


def run(assignment: Assignment, spec: PredictSpec, report: Report, *, jit: bool) -> Finished | Stopped:
    """Predict, batch by batch into a file, and answer inline what is small."""
    pulse = Pulse(report)
    pulse.phase("loading data")
    origin = origins.find(assignment, spec.model)
    scale = models.scale(spec.data, origin)
    samples = data.load(source(spec), data.place(assignment), labels=False, scale=scale, one_hot=None)
    pulse.phase("building")
    model = _model(assignment, spec, origin, jit=jit)
    models.check_input(model.input_shape, samples.sample, sizing.input_names(model))
    order = batching.order(len(samples), spec.batch_size, samples.batches)
    predicting = engine.loop(model, model.predict_step, samples, order, "The model cannot predict on the data")
    steps = order.steps(spec.steps, repeat=spec.data.repeat)
    rows = len(samples) if spec.steps is None else steps * spec.batch_size
    footprint.check(footprint.of_predictions(rows, sizing.of(model).outputs), assignment)
    pulse.phase("predicting", steps=steps)
    answer = Answer(Classes(spec.top_k, _class_names(spec, origin, model), _word(model)))
    try:
        _write(assignment, spec, answer, engine.predictions(predicting, report, pulse, steps), model, steps, report)
    except _Cut:
        return Stopped(report.stop_mode() or "release")
    return Finished(answer.value())


def _class_names(spec: PredictSpec, origin: origins.Origin, model: Any) -> list[str] | None:
    """Return the names of the classes: the spec's, else those that the source job learned, where they fit."""
    if spec.class_names is not None or origin.class_names is None:
        return spec.class_names
    shape = model.output_shape
    fits = _is_shape(shape) and shape[-1] == len(origin.class_names)
    return list(origin.class_names) if fits else None


def source(spec: PredictSpec) -> Source:
    """Return where the inputs come from; a single sample as an array of one row."""
    given = spec.data.input
    return given.as_rows() if isinstance(given, SampleSource) else given


def _model(assignment: Assignment, spec: PredictSpec, origin: origins.Origin, *, jit: bool) -> Any:
    model = models.build(assignment, origin, spec.resources, optimizer_slots=None)
    check(spec, model.output_shape)
    if spec.head == "softmax":
        with explained("The softmax head cannot be added"):
            model = keras.Sequential([model, keras.layers.Softmax()])
            model.build(model.layers[0].input_shape)
    model.jit_compile = jit
    return model


def check(spec: PredictSpec, shape: Any) -> None:
    """Raise `BadSpec` when a model's output cannot give the classes that the spec asks for."""
    asked = [name for name in ("head", "top_k", "class_names") if getattr(spec, name) is not None]
    if not asked:
        return
    if not _is_shape(shape) or len(shape) != CLASS_AXES or shape[-1] is None:
        raise _wrong(f"/{asked[0]}", f"Classes need one output of shape (any, classes); the model's is {shape}.")
    classes = shape[-1]
    if classes == 1:
        message = "The model gives one number for each sample, which are no classes to choose from"
        raise _wrong(f"/{asked[0]}", f"{message}: leave {' and '.join(asked)} out.")
    if spec.top_k is not None and spec.top_k > classes:
        raise _wrong("/top_k", f"top_k is {spec.top_k}; the model has {classes} classes.")
    if spec.class_names is not None and len(spec.class_names) != classes:
        raise _wrong("/class_names", f"There are {len(spec.class_names)} class_names; the model has {classes} classes.")


def _is_shape(shape: Any) -> bool:
    """Whether it is one output's shape, and not the shapes of several."""
    return isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape)


def _wrong(pointer: str, message: str) -> BadSpec:
    return BadSpec(message, fields=(FieldError(pointer, message),))


def _write(
    assignment: Assignment,
    spec: PredictSpec,
    answer: Answer,
    batches: Iterator[Any],
    model: Any,
    steps: int,
    report: Report,
) -> None:
    """Write the batches to the artifact as they come. Raise `_Cut` when there were fewer than `steps`."""
    volume, name = Path(assignment.volume), f"predictions.{spec.save}"
    path = f"{store.attempt_folder(assignment.job_id, assignment.attempt)}/{name}"
    done = 0
    with store.writing(volume, path) as file, _sink(spec, answer.classes, file, (volume / path).parent) as sink:
        for batch in batches:
            outputs = _named(batch, model)
            sink.add(outputs)
            answer.add(outputs)
            done += 1
        if done < steps:
            raise _Cut
        sink.finish()
    report.say(Artifact(name, _CONTENT_TYPES[spec.save], store.describe(volume, path)))


@contextmanager
def _sink(spec: PredictSpec, classes: Classes, file: Any, folder: Path) -> Iterator[Sink]:
    with Parquet(file, classes) if spec.save == "parquet" else Npz(file, folder) as sink:
        yield sink


def _named(batch: Any, model: Any) -> Outputs:
    """Return a batch's outputs by name; a single one is called `predictions`."""
    flat = [_plain(array) for array in keras.tree.flatten(batch)]
    if len(flat) == 1:
        return {SINGLE: flat[0]}
    if len({len(array) for array in flat}) > 1:
        shapes = ", ".join(str(array.shape) for array in flat)
        raise BadSpec(f"The model's outputs have different numbers of rows for one batch: {shapes}.")
    return dict(zip(_names(model, len(flat)), flat, strict=True))


def _names(model: Any, count: int) -> Sequence[str]:
    """Return Keras's names of the outputs, or numbers where two are the same."""
    names = list(getattr(model, "output_names", None) or ())
    return names if len(set(names)) == count else [f"output_{index}" for index in range(count)]


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array that every reader knows: 16-bit floats as float32."""
    return array if array.dtype.isbuiltin == 1 and array.dtype != np.float16 else array.astype(np.float32)


def _word(model: Any) -> str:
    """Return what the numbers of the model's classes are."""
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    return "probability" if isinstance(last, keras.layers.Softmax) or activation in {"softmax", "sigmoid"} else "score"
