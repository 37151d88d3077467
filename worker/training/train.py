"""The train job."""

from typing import Any

from shared.errors import NaNLoss
from shared.spec import TrainSpec
from worker.training import data, models, results, sizing
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
    origin = models.origin(assignment, spec.model)
    where = data.place(assignment)
    train, validation = data.load_training(spec.data, where, scale=spec.data.scale, one_hot=spec.data.one_hot)
    parts = [train] if validation is None else [train, validation]
    pulse.phase("building")
    slots = sizing.slots(models.optimizer(spec.compile))
    model = models.build(assignment, origin.config, spec.resources, optimizer_slots=slots)
    for samples in parts:
        models.check_input(model.input_shape, samples.sample)
    models.compile_model(model, spec.compile, jit=jit)
    for samples in parts:
        models.check_labels(model, samples)
    models.prepare(model, train, "The model cannot be trained on the data")
    model.optimizer.build(model.trainable_variables)
    return Session(assignment, spec, model, train, validation, report)


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
