"""From a checked configuration to a Keras model: built, compiled, with the weights it starts from."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from shared import architecture, objectives
from shared.data_spec import EvaluateData, PredictData
from shared.errors import BadSpec, FieldError
from shared.fit_spec import Compile
from shared.spec import Resources
from worker.training import checkpoints, origins, sizing
from worker.training.faults import explained
from worker.training.samples import Samples, Streamed
from worker.wire import Assignment

#: Rows with which a model is tried before it is traced.
_TRIED_ROWS = 2


def scale(own: EvaluateData | PredictData, found: origins.Origin) -> float | None:
    """Return the job's own scale where it gives one, else its source's."""
    return found.scale if own.scale is None else own.scale


def build(assignment: Assignment, found: origins.Origin, resources: Resources, *, optimizer_slots: int | None) -> Any:
    """Return the built model: fresh weights from the seed, or those of a file or of the source job's checkpoint.

    `optimizer_slots` is how many variables of its own training keeps for each weight, None without training.
    Raise `BadSpec` when it cannot be built or cannot fit the memory, `BadData` when the weights of a file do not
    fit it, `CheckpointCorrupt` when the source's file is not what was pinned.
    """
    size = sizing.measure(found.config)
    needed = size.weight_bytes if optimizer_slots is None else sizing.training_bytes(size, optimizer_slots)
    sizing.check_fits(needed, size, resources.memory_mb)
    # The names that Keras gives, and the seeds it draws, must not depend on what this process did before.
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(assignment.seed)
    with explained("The model cannot be built"):
        model = sizing.instantiate(found.config)
    sizing.check_built(model)
    if assignment.source is not None:
        checkpoints.load_weights(model, assignment)
    elif found.file is not None:
        found.file.load_weights(model)
    return model


def compile_model(model: Any, spec: Compile, *, jit: bool) -> None:
    """Compile a model from its spec. Raise `BadSpec`."""
    with explained("The model cannot be compiled"):
        model.compile(
            optimizer=optimizer(spec),
            jit_compile=jit if spec.jit_compile == "auto" else spec.jit_compile,
            run_eagerly=spec.run_eagerly,
            auto_scale_loss=spec.auto_scale_loss,
            **objective(spec),
        )


def objective(spec: Compile) -> dict[str, Any]:
    """Return losses and metrics as `compile` takes them. Keras raises ValueError for what cannot be made."""
    return {
        "loss": objectives.losses(spec.loss, _loss),
        "loss_weights": spec.loss_weights,
        "metrics": objectives.metrics(spec.metrics, _metric),
        "weighted_metrics": objectives.metrics(spec.weighted_metrics, _metric) or None,
    }


def _loss(value: Any, pointer: str) -> Any:
    return _object(architecture.checked_loss(value, pointer=pointer))


def _metric(value: Any, pointer: str) -> Any:
    return _object(architecture.checked_metric(value, pointer=pointer))


def optimizer(spec: Compile) -> Any:
    """Return the spec's optimizer, new. Raise `BadSpec`."""
    with explained("The optimizer cannot be made"):
        return _object(architecture.checked_optimizer(spec.optimizer))


def check_compile(spec: Compile) -> None:
    """Raise `BadSpec` when something that the spec compiles with cannot be made."""
    optimizer(spec)
    with explained("The model cannot be compiled"):
        objective(spec)


def _object(config: dict[str, Any]) -> Any:
    """Return the object, or the name of one that Keras chooses itself, such as accuracy."""
    if "class_name" not in config:
        return config["name"]
    return keras.saving.deserialize_keras_object(config, safe_mode=True)


def check_input(shape: Any, sample: Any, names: Sequence[str] = ()) -> None:
    """Raise `BadSpec` naming the input and both shapes when samples do not fit the model's inputs.

    `shape` is Keras's `input_shape`, `sample` a shape, or a list or dictionary of them; `names` are the inputs'.
    """
    wanted = _shapes(shape, names)
    given = sample if isinstance(sample, dict) else dict(zip(wanted, sample, strict=False))
    if not isinstance(sample, (list, dict)):
        given = {next(iter(wanted)): sample}
    count = len(sample) if isinstance(sample, (list, dict)) else 1
    if count != len(wanted):
        inputs = f"{len(wanted)} input{'s' if len(wanted) > 1 else ''} ({', '.join(wanted)})"
        raise _unfit(f"The model has {inputs}; the data gives {count} array{'s' if count > 1 else ''} of x.")
    if unknown := sorted(set(given) - set(wanted)):
        raise _unfit(f"The model has no input '{unknown[0]}'; its inputs are {', '.join(wanted)}.")
    for name, one in wanted.items():
        if not _fits(tuple(one[1:]), tuple(given[name])):
            who = "The model" if len(wanted) == 1 else f"The model's input '{name}'"
            raise _unfit(
                f"{who} takes samples of shape {_shown(tuple(one[1:]))}; the data's have shape {_shown(given[name])}."
            )


def _shapes(shape: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return each input's shape by its name, as far as names are known."""
    if isinstance(shape, dict):
        return shape
    if all(isinstance(n, int) or n is None for n in shape):
        return {names[0] if names else "x": shape}
    return dict(zip(names if len(names) == len(shape) else map(str, range(len(shape))), shape, strict=True))


def _unfit(message: str) -> BadSpec:
    return BadSpec(message, fields=(FieldError("/model", message),))


def _fits(wanted: tuple[int | None, ...], sample: tuple[int, ...]) -> bool:
    """Whether Keras takes such samples: it adds or drops a last axis of length 1 by itself."""
    if len(wanted) == len(sample) + 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    elif len(wanted) == len(sample) - 1 and sample[-1] == 1:
        sample = sample[:-1]
    return len(wanted) == len(sample) and all(a in {None, b} for a, b in zip(wanted, sample, strict=True))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


def arrange(model: Any, samples: Samples | Streamed) -> Samples | Streamed:
    """Return labels and weights that go by the outputs' names in the outputs' order, where the model has an order.

    Keras finds labels by name, but not weights. Raise `BadSpec` naming an output without labels, or labels without one.
    """
    labels = samples.labels
    if not isinstance(labels, dict) or isinstance(model.output, dict):
        return samples
    names = tuple(model.output_names)
    for name in [*sorted(set(labels) - set(names)), *sorted(set(names) - set(labels))]:
        what = "no output" if name in labels else "no y for its output"
        raise _unfit(f"The model has {what} '{name}'; its outputs are {', '.join(names)}.")
    return samples.arranged(names)


def check_labels(model: Any, samples: Samples | Streamed) -> None:
    """Raise `BadData` for class numbers that the model has no output for.

    On a CPU TensorFlow would refuse them at some step, on a GPU the loss would silently become NaN.
    """
    labels = samples.labels
    if labels is None:
        return
    if not isinstance(labels, dict | tuple):
        samples.check_labels([("", _classes(model.loss, model.output_shape))])
        return
    # Keras takes the parts of a dictionary in the order of their sorted names.
    order = sorted(model.output) if isinstance(labels, dict) else list(model.output_names)
    names = list(labels) if isinstance(labels, dict) else order[: len(labels)]
    losses = model.loss if isinstance(model.loss, dict | list | tuple) else dict.fromkeys(order, model.loss)
    places = [order.index(name) for name in names] if isinstance(labels, dict) else range(len(names))
    samples.check_labels(
        [
            (name, _classes(_of(losses, name, place), _of(model.output_shape, name, place)))
            for name, place in zip(names, places, strict=True)
        ]
    )


def _of(parts: Any, name: str, index: int) -> Any:
    """Return an output's part of what goes by names or by places; None where there is none."""
    if isinstance(parts, dict):
        return parts.get(name)
    return parts[index] if index < len(parts) else None


def _classes(loss: Any, shape: Any) -> int | None:
    """Return how many classes the labels of an output may have; None where they are no class numbers."""
    sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    if not sparse or getattr(loss, "ignore_class", None) is not None or not isinstance(shape, tuple):
        return None
    return shape[-1] if shape and isinstance(shape[-1], int) else None


def prepare(model: Any, samples: Samples | Streamed, what: str) -> None:
    """Let Keras make the variables of its metrics, which the first step would make.

    A checkpoint's values need them; and a graph that makes none is traced once, not twice.
    Raise `BadSpec` "<what>: …" when loss, metrics and data do not fit each other.
    """
    head = samples.head(_TRIED_ROWS)
    with explained(what):
        predicted = model(head.x, training=False)
        model.compute_loss(x=head.x, y=head.y, y_pred=predicted, sample_weight=head.weight, training=False)
        model.compute_metrics(head.x, head.y, predicted, head.weight)
        model.reset_metrics()


def parameters(model: Any) -> int:
    """Return the number of a model's parameters."""
    return int(sum(np.prod(v.shape, dtype=np.int64) for v in model.weights))
