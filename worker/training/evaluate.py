"""The evaluate job."""

from shared.spec import EvaluateSpec
from worker.training import batches, data, engine, models, origins, results, sizing
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.wire import Assignment, Finished, Stopped

_WHAT = "The model cannot be evaluated on the data"
_STOPS = frozenset({"release", "after_epoch"})


def run(assignment: Assignment, spec: EvaluateSpec, report: Report, *, jit: bool) -> Finished | Stopped:
    """Measure a model on data."""
    pulse = Pulse(report)
    pulse.phase("loading data")
    origin = origins.find(assignment, spec.model)
    compiled = origins.compiled(spec.compile, origin)
    scale = models.scale(spec.data, origin)
    one_hot = origin.one_hot if spec.data.one_hot is None else spec.data.one_hot
    where = data.place(assignment)
    samples = data.load(
        spec.data.test, where, labels=True, scale=scale, one_hot=one_hot, class_names=origin.class_names
    )
    pulse.phase("building")
    model = models.build(assignment, origin, spec.resources, optimizer_slots=None)
    models.check_input(model.input_shape, samples.sample, sizing.input_names(model))
    models.compile_model(model, compiled, jit=jit)
    samples = models.arrange(model, samples)
    models.check_labels(model, samples)
    models.prepare(model, samples, _WHAT)
    order = batches.order(len(samples), spec.batch_size, samples.batches)
    testing = engine.loop(model, model.test_step, samples, order, _WHAT)
    steps = order.steps(spec.steps, repeat=spec.data.repeat)
    pulse.phase("evaluating", steps=steps)
    measured = engine.evaluate(model, testing, report, pulse, steps=steps, stops=_STOPS)
    if isinstance(measured, str):
        return Stopped(measured)
    return Finished({"rows": len(samples), **results.measured("metrics", measured)})
