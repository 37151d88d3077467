"""The predict job."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from shared import store
from shared.errors import BadSpec, FieldError
from shared.spec import PredictSpec
from worker.training import data, engine, models, results
from worker.training.batches import Order
from worker.training.faults import explained
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.wire import Artifact, Assignment, Finished, Stopped

#: Numbers that a result carries inline, at most.
INLINE_NUMBERS = 10_000
#: Axes of an output whose rows are classes.
_CLASS_AXES = 2


def run(assignment: Assignment, spec: PredictSpec, report: Report, *, jit: bool) -> Finished | Stopped:
    """Predict, leave `predictions.npz`, and answer inline what is small."""
    pulse = Pulse(report)
    pulse.phase("loading data")
    origin = models.origin(assignment, spec.model)
    scale = models.scale(spec.data, origin)
    samples = data.load(spec.data.input, data.place(assignment), labels=False, scale=scale, one_hot=None)
    pulse.phase("building")
    model = _model(assignment, spec, origin.config, jit=jit)
    models.check_input(model.input_shape, samples.x.shape[1:])
    order = Order(len(samples), spec.batch_size)
    predicting = engine.loop(model, model.predict_step, samples, order, "The model cannot predict on the data")
    pulse.phase("predicting", steps=order.steps_per_pass)
    batches = list(engine.predictions(predicting, report, pulse))
    if len(batches) < order.steps_per_pass:
        return Stopped(report.stop_mode() or "release")
    outputs = _joined(batches, model)
    pulse.phase("saving")
    _save(assignment, outputs, report)
    return Finished(_value(spec, model, outputs))


def _model(assignment: Assignment, spec: PredictSpec, config: dict[str, Any], *, jit: bool) -> Any:
    model = models.build(assignment, config, spec.resources, optimizer_slots=None)
    check(spec, model.output_shape)
    if spec.head == "softmax":
        with explained("The softmax head cannot be added"):
            model = keras.Sequential([model, keras.layers.Softmax()])
            model.build(model.layers[0].input_shape)
    model.jit_compile = jit
    return model


def check(spec: PredictSpec, shape: Any) -> None:
    """Raise `BadSpec` when a model's output cannot give the classes that the spec asks for."""
    if spec.head is None and spec.top_k is None and spec.class_names is None:
        return
    if not isinstance(shape, tuple) or len(shape) != _CLASS_AXES:
        raise _wrong("/model", f"Classes need one output of shape (any, classes); the model's is {shape}.")
    classes = shape[-1]
    if spec.top_k is not None and spec.top_k > classes:
        raise _wrong("/top_k", f"top_k is {spec.top_k}; the model has {classes} classes.")
    if spec.class_names is not None and len(spec.class_names) != classes:
        raise _wrong("/class_names", f"There are {len(spec.class_names)} class_names; the model has {classes} classes.")


def _wrong(pointer: str, message: str) -> BadSpec:
    return BadSpec(message, fields=(FieldError(pointer, message),))


def _joined(batches: list[Any], model: Any) -> dict[str, np.ndarray]:
    """Return the whole outputs by name; a single one is called `predictions`."""
    outputs = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
    flat = [_plain(array) for array in keras.tree.flatten(outputs)]
    names = list(getattr(model, "output_names", ())) or [f"output_{index}" for index in range(len(flat))]
    return {"predictions": flat[0]} if len(flat) == 1 else dict(zip(names, flat, strict=True))


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array that every NumPy can read: bfloat16 as float32."""
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)


def _save(assignment: Assignment, outputs: dict[str, np.ndarray], report: Report) -> None:
    volume = Path(assignment.volume)
    path = f"{store.attempt_folder(assignment.job_id, assignment.attempt)}/predictions.npz"
    with store.writing(volume, path) as file:
        np.savez(file, **outputs)  # type: ignore[arg-type]
    report.say(Artifact("predictions.npz", "application/x-npz", store.describe(volume, path)))


def _value(spec: PredictSpec, model: Any, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    rows = len(next(iter(outputs.values())))
    if "predictions" not in outputs:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        return {"rows": rows, "shape": shapes, "predictions": None, "top": None, "classes": None}
    array = outputs["predictions"]
    inline = array.size <= INLINE_NUMBERS
    by_class = array.ndim == _CLASS_AXES and array.shape[1] > 1 and rows <= INLINE_NUMBERS
    return {
        "rows": rows,
        "shape": list(array.shape),
        "predictions": results.json_numbers(array.tolist()) if inline else None,
        "top": _top(spec, model, array),
        "classes": array.argmax(axis=1).tolist() if by_class else None,
    }


def _top(spec: PredictSpec, model: Any, array: np.ndarray) -> list[list[dict[str, Any]]] | None:
    """Return the k most likely classes of each row, the likeliest first; None when not asked for or too many."""
    if spec.top_k is None or len(array) * spec.top_k > INLINE_NUMBERS:
        return None
    # Stable, so that of equal values the lower class comes first.
    best = np.argsort(-array, axis=1, kind="stable")[:, : spec.top_k]
    word = "probability" if _says_probabilities(model) else "score"
    return [[_one(spec, word, int(k), float(row[k])) for k in ks] for row, ks in zip(array, best, strict=True)]


def _one(spec: PredictSpec, word: str, number: int, value: float) -> dict[str, Any]:
    name = {} if spec.class_names is None else {"name": spec.class_names[number]}
    return {"class": number, **name, word: results.json_numbers(value)}


def _says_probabilities(model: Any) -> bool:
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    return isinstance(last, keras.layers.Softmax) or activation in {"softmax", "sigmoid"}
