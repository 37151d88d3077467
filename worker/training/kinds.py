"""What a runner can do: one action for each kind of job."""

from collections.abc import Callable
from typing import Any, cast

from shared import spec as specs
from shared.states import Kind
from worker.training import check, evaluate, export, numerics, origins, predict, train
from worker.training.port import Report
from worker.wire import Assignment, Finished, Started, Stopped

Action = Callable[[Assignment, Report], Finished | Stopped]


def _action(run: Any, parse: Callable[[Any], Any] = specs.parse, *, resumes: bool = False) -> Action:
    """Return a kind's action; one that resumes passes on itself why the bits of an attempt may differ."""

    def act(assignment: Assignment, report: Report) -> Finished | Stopped:
        """Fix the numerics, say that the job's own code runs, and do it. Errors are those of `shared.errors`."""
        spec = parse(assignment.spec)
        chosen = origins.pin(assignment, spec, assignment.numerics or numerics.choose(assignment))
        reasons = numerics.apply(chosen)
        report.say(Started(chosen))
        doubts = {"inexact": reasons} if resumes else {}
        ended = cast("Finished | Stopped", run(assignment, spec, report, jit=chosen["jit"], **doubts))
        if isinstance(ended, Finished) and reasons and not resumes:
            ended.value.update(exact=False, inexact_because=list(reasons))
        return ended

    return act


#: The actions by kind. They raise `BadSpec`, `BadData`, `NaNLoss` or `CheckpointCorrupt` with a sentence for
#: a person; OSError and running out of memory pass through as they are.
ACTIONS: dict[str, Action] = {
    Kind.TRAIN: _action(train.run, resumes=True),
    Kind.EVALUATE: _action(evaluate.run),
    Kind.PREDICT: _action(predict.run),
    Kind.CHECK: _action(check.run),
    # Internal: its spec comes from the API, not from a user.
    Kind.EXPORT: _action(export.run, specs.ExportSpec.model_validate),
}
