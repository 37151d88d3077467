"""The train job."""

from collections.abc import Sequence
from typing import Any

from shared.errors import NaNLoss
from shared.spec import TrainSpec
from worker.training import checkpoints, data, footprint, models, origins, results, sizing
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.training.samples import Samples, Streamed
from worker.training.seals import Seals
from worker.training.session import Session
from worker.training.sources.place import Place
from worker.wire import Assignment, Finished, Stopped


def run(
    assignment: Assignment, spec: TrainSpec, report: Report, *, jit: bool, inexact: Sequence[str] = ()
) -> Finished | Stopped:
    """Train a model, from the job's newest checkpoint if it has one.

    `inexact` is why this attempt may give other bits than an undisturbed run: its checkpoints pass it on.
    """
    session = _prepare(assignment, spec, report, jit=jit, inexact=inexact)
    session.begin()
    try:
        mode = None if session.finished_as else session.train()
    except NaNLoss:
        # The epoch in which it happened is told, too.
        session.files.publish(final=True)
        raise
    if mode is not None:
        session.files.publish(final=True)
        return Stopped(mode)
    final = session.end()
    return Finished(_value(session), session.weights_sha256, final)


def _prepare(assignment: Assignment, spec: TrainSpec, report: Report, *, jit: bool, inexact: Sequence[str]) -> Session:
    pulse = Pulse(report, epochs=spec.fit.epochs)
    pulse.phase("loading data")
    origin = origins.find(assignment, spec.model)
    compiled = origins.compiled(spec.compile, origin)
    where = data.place(assignment)
    train, validation = _load(assignment, spec, where, labels_needed=compiled.loss is not None)
    parts = [train] if validation is None else [train, validation]
    pulse.phase("building")
    slots = sizing.slots(models.optimizer(compiled))
    model = models.build(assignment, origin, spec.resources, optimizer_slots=slots)
    footprint.check(footprint.of_training(spec, sizing.of(model), origin.config, slots=slots), assignment)
    for samples in parts:
        models.check_input(model.input_shape, samples.sample, sizing.input_names(model))
    models.compile_model(model, compiled, jit=jit)
    parts = [models.arrange(model, samples) for samples in parts]
    for samples in parts:
        models.check_labels(model, samples)
    models.prepare(model, parts[0], "The model cannot be trained on the data")
    model.optimizer.build(model.trainable_variables)
    if spec.compile is not None and spec.compile.continue_optimizer:
        _continue(assignment, origin, model)
    about = {"architecture": origin.config, "compile": compiled.model_dump(mode="json")}
    held_out = None if validation is None else parts[1]
    return Session(assignment, spec, model, parts[0], held_out, report, about, Seals(where.contents), inexact)


def _continue(assignment: Assignment, origin: origins.Origin, model: Any) -> None:
    """Give optimizer and random numbers the state that came with the model. Raise `BadSpec` when it does not fit."""
    if origin.file is not None:
        origin.file.load_optimizer(model, checkpoints.groups(model)["seeds"])
    else:
        checkpoints.load_optimizer(model, assignment)


def _load(
    assignment: Assignment, spec: TrainSpec, where: Place, *, labels_needed: bool
) -> tuple[Samples | Streamed, Samples | Streamed | None]:
    weights = spec.fit.class_weight
    return data.load_training(
        spec.data,
        where,
        scale=spec.data.scale,
        one_hot=spec.data.one_hot,
        class_weight=None if weights is None else {int(number): weight for number, weight in weights.items()},
        labels_needed=labels_needed,
        seed=assignment.seed,
    )


def _value(session: Session) -> dict[str, Any]:
    """Return the result: what the job did in all of its attempts, so not dependent on how many."""
    run = session.position.epoch - session.spec.fit.initial_epoch
    return {
        "epochs": run,
        "steps": session.position.step,
        "parameters": models.parameters(session.model),
        "stopped_early": session.position.epoch < session.spec.fit.epochs,
        **({} if session.class_names is None else {"class_names": list(session.class_names)}),
        **({"exact": False, "inexact_because": session.inexact} if session.inexact else {}),
        **results.measured("metrics", session.stream.last),
    }
