"""What a job would need: counted and read from headers, with nothing allocated and nothing queued."""

import math
from typing import Any

from shared.data_spec import Source, Split
from shared.sources.arrays import DatasetSource
from shared.spec import EvaluateSpec, PredictSpec, Spec, TrainSpec
from worker.training import data, datasets, footprint, models, origins, predict, sizing
from worker.training.footprint import Footprint
from worker.training.port import Report
from worker.wire import Assignment, Finished


def run(assignment: Assignment, spec: Spec, report: Report, *, jit: bool) -> Finished:  # noqa: ARG001 - as every action
    """Answer what the spec's job would need. Raise `BadSpec` or `BadData` for what it would fail with."""
    origin = origins.find(assignment, spec.model)
    size = sizing.measure(origin.config, weights=origin.file)
    outline = data.outline(_source(spec), data.place(assignment))
    models.check_input(size.input_shape, outline.sample, size.input_names)
    slots = _slots(spec, origin)
    needed = size.weight_bytes if slots is None else sizing.training_bytes(size, slots)
    sizing.check_fits(needed, size, spec.resources.memory_mb)
    if isinstance(spec, PredictSpec):
        predict.check(spec, size.output_shape)
    leaves = _footprint(spec, size, outline, origin.config, slots or 0)
    footprint.check_allowed(leaves, assignment)
    return Finished(_value(assignment, spec, size, outline, needed, leaves))


def _source(spec: Spec) -> Source:
    if isinstance(spec, TrainSpec):
        return spec.data.train
    return spec.data.test if isinstance(spec, EvaluateSpec) else predict.source(spec)


def _slots(spec: Spec, origin: origins.Origin) -> int | None:
    """Return the optimizer's slots for a train job, having tried that everything in `compile` can be made."""
    if isinstance(spec, PredictSpec):
        return None
    compiled = origins.compiled(spec.compile, origin)
    models.check_compile(compiled)
    return sizing.slots(models.optimizer(compiled)) if isinstance(spec, TrainSpec) else None


def _footprint(spec: Spec, size: sizing.Size, outline: data.Outline, config: dict[str, Any], slots: int) -> Footprint:
    if isinstance(spec, TrainSpec):
        return footprint.of_training(spec, size, config, slots=slots)
    if isinstance(spec, PredictSpec):
        rows = _samples(spec, outline) if spec.steps is None else spec.steps * spec.batch_size
        return footprint.of_predictions(rows, size.outputs)
    return Footprint()


def _value(
    assignment: Assignment, spec: Spec, size: sizing.Size, outline: data.Outline, needed: int, leaves: Footprint
) -> dict[str, Any]:
    batch_size = spec.fit.batch_size if isinstance(spec, TrainSpec) else spec.batch_size
    samples = _samples(spec, outline)
    memory_mb = sizing.estimate_mb(needed, size, outline.bytes, batch_size)
    free = footprint.free_bytes(assignment)
    return {
        "parameters": size.parameters,
        "trainable_parameters": size.trainable,
        "memory_mb": memory_mb,
        "checkpoint_bytes": leaves.checkpoint_bytes,
        "checkpoints": leaves.checkpoints,
        "disk_bytes": leaves.bytes,
        "disk_free_bytes": free,
        "input_shape": size.input_shape,
        "output_shape": size.output_shape,
        "samples": samples,
        "steps_per_epoch": _steps(spec, samples, batch_size),
        "warnings": _warnings(assignment, spec, memory_mb, leaves, free),
    }


def _samples(spec: Spec, outline: data.Outline) -> int:
    """Return the rows that remain to work on when a validation split has been taken."""
    if isinstance(spec, TrainSpec) and isinstance(spec.data.validation, Split):
        return data.split_at(outline.rows, spec.data.validation.split)
    return outline.rows


def _steps(spec: Spec, samples: int, batch_size: int) -> int:
    if isinstance(spec, TrainSpec) and spec.fit.steps_per_epoch is not None:
        return spec.fit.steps_per_epoch
    if isinstance(spec, (EvaluateSpec, PredictSpec)) and spec.steps is not None:
        return spec.steps
    runs = getattr(_source(spec), "batches", None)
    return sum(count for _, count in runs) if runs else math.ceil(samples / batch_size)


def _warnings(assignment: Assignment, spec: Spec, memory_mb: int, leaves: Footprint, free: int) -> list[str]:
    warnings = []
    if leaves.bytes > free:
        warnings.append(f"The job leaves {leaves}; the volume has room for {footprint.mb(free)} now.")
    if memory_mb > spec.resources.memory_mb:
        warnings.append(f"About {memory_mb} MB are needed; resources.memory_mb allows {spec.resources.memory_mb}.")
    for source in _sources(spec):
        folder = data.place(assignment).datasets
        if isinstance(source, DatasetSource) and not datasets.is_local(source.dataset, folder):
            warnings.append(f"The data set {source.dataset} must be downloaded first.")
    return warnings + _monitors(spec)


def _sources(spec: Spec) -> list[Any]:
    if isinstance(spec, TrainSpec):
        return [spec.data.train, spec.data.validation]
    return [_source(spec)]


def _monitors(spec: Spec) -> list[str]:
    """Name what is to be monitored although there is no validation that would measure it."""
    if not isinstance(spec, TrainSpec) or spec.data.validation is not None:
        return []
    monitors = {name: arguments for one in spec.callbacks if isinstance(one, dict) for name, arguments in one.items()}
    monitored = {"checkpoint": spec.checkpoint.monitor or "loss"}
    for name in ("EarlyStopping", "ReduceLROnPlateau"):
        if name in monitors or name in spec.callbacks:
            monitored[name] = (monitors.get(name) or {}).get("monitor", "val_loss")
    if (saving := monitors.get("ModelCheckpoint") or {}).get("save_best_only"):
        monitored["ModelCheckpoint"] = saving.get("monitor", "val_loss")
    return [
        f"{who} monitors {what}, which is never measured: the job has no validation data."
        for who, what in monitored.items()
        if what.startswith("val_")
    ]
