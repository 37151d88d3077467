"""From a checked configuration to a Keras model: built, compiled, with the weights it starts from."""

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


def check_input(shape: Any, sample: tuple[int, ...]) -> None:
    """Raise `BadSpec` naming both shapes when samples do not fit the model's input."""
    if isinstance(shape, (list, dict)) and not all(isinstance(n, int) or n is None for n in shape):
        raise BadSpec(f"The model has {len(shape)} inputs; a data source gives one.", fields=(_at("/model"),))
    wanted = tuple(shape[1:])
    if not _fits(wanted, sample):
        message = f"The model takes samples of shape {_shown(wanted)}; the data's have shape {_shown(sample)}."
        raise BadSpec(message, fields=(FieldError("/model", message),))


def _at(pointer: str) -> FieldError:
    return FieldError(pointer, "does not fit the data")


def _fits(wanted: tuple[int | None, ...], sample: tuple[int, ...]) -> bool:
    """Whether Keras takes such samples: it adds or drops a last axis of length 1 by itself."""
    if len(wanted) == len(sample) + 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    elif len(wanted) == len(sample) - 1 and sample[-1] == 1:
        sample = sample[:-1]
    return len(wanted) == len(sample) and all(a in {None, b} for a, b in zip(wanted, sample, strict=True))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


def check_labels(model: Any, samples: Samples | Streamed) -> None:
    """Raise `BadData` for class numbers that the model has no output for.

    On a CPU TensorFlow would refuse them at some step, on a GPU the loss would silently become NaN.
    """
    sparse = isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    classes = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    ignored = getattr(model.loss, "ignore_class", None)
    if sparse and isinstance(classes, int) and ignored is None:
        samples.check_labels(classes)


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
