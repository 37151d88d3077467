"""The train job."""

from typing import Any

from shared.errors import NaNLoss
from shared.spec import TrainSpec
from worker.training import checkpoints, data, models, origins, results, sizing
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.training.session import Session
from worker.wire import Assignment, Finished, Stopped


def run(assignment: Assignment, spec: TrainSpec, report: Report, *, jit: bool) -> Finished | Stopped:
    """Train a model, from the job's newest checkpoint if it has one."""
    session = _prepare(assignment, spec, report, jit=jit)
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


def _prepare(assignment: Assignment, spec: TrainSpec, report: Report, *, jit: bool) -> Session:
    pulse = Pulse(report, epochs=spec.fit.epochs)
    pulse.phase("loading data")
    origin = origins.find(assignment, spec.model)
    compiled = origins.compiled(spec.compile, origin)
    where = data.place(assignment)
    train, validation = data.load_training(spec.data, where, scale=spec.data.scale, one_hot=spec.data.one_hot)
    parts = [train] if validation is None else [train, validation]
    pulse.phase("building")
    slots = sizing.slots(models.optimizer(compiled))
    model = models.build(assignment, origin, spec.resources, optimizer_slots=slots)
    for samples in parts:
        models.check_input(model.input_shape, samples.sample)
    models.compile_model(model, compiled, jit=jit)
    for samples in parts:
        models.check_labels(model, samples)
    models.prepare(model, train, "The model cannot be trained on the data")
    model.optimizer.build(model.trainable_variables)
    if spec.compile is not None and spec.compile.continue_optimizer:
        _continue(assignment, origin, model)
    about = {"architecture": origin.config, "compile": compiled.model_dump(mode="json")}
    return Session(assignment, spec, model, train, validation, report, about)


def _continue(assignment: Assignment, origin: origins.Origin, model: Any) -> None:
    """Give optimizer and random numbers the state that came with the model. Raise `BadSpec` when it does not fit."""
    if origin.file is not None:
        origin.file.load_optimizer(model, checkpoints.groups(model)["seeds"])
    else:
        checkpoints.load_optimizer(model, assignment)


def _value(session: Session) -> dict[str, Any]:
    """Return the result: what the job did in all of its attempts, so not dependent on how many."""
    run = session.position.epoch - session.spec.fit.initial_epoch
    return {
        "epochs": run,
        "steps": session.position.step,
        "parameters": models.parameters(session.model),
        "stopped_early": session.position.epoch < session.spec.fit.epochs,
        **results.measured("metrics", session.stream.last),
    }
