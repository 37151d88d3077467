"""Keras's calls through a queue: prepared here, run there, waited for."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fitq.calls import Evaluate, Fit, Predict
from fitq.jobs import Job
from fitq.local import files, outcomes, specs
from fitq.local.files import Landing
from fitq.local.progress import Attached, Progress
from fitq.local.specs import Prepared
from fitq.local.upload import Sending

if TYPE_CHECKING:
    from fitq.jobs import Queue

#: Seconds between two looks at the files that a running job's callbacks leave.
_LOOK_S = 2.0


def prepared(queue: "Queue", call: Fit | Evaluate | Predict) -> Prepared:
    """Send what a call needs and return its job, ready to be submitted. Raise `CannotTravel`."""
    with Sending(queue, quiet=call.verbose == 0) as upload:
        if isinstance(call, Fit):
            return specs.of_fit(call, upload)
        return specs.of_evaluate(call, upload) if isinstance(call, Evaluate) else specs.of_predict(call, upload)


def fit(queue: "Queue", call: Fit) -> Any:
    """Train on a worker and leave the outcome in the model; return Keras's History."""
    ready = prepared(queue, call)
    assert ready.callbacks is not None  # noqa: S101 - a fit has them
    job = queue.submit(ready.spec)
    with Attached(job):
        _followed(job, Progress(job, call.verbose, ready.steps), ready.callbacks.landings)
        outcomes.trained(job, call, ready.callbacks)
        return outcomes.history(job, call, ready.callbacks, steps=ready.steps)


def evaluate(queue: "Queue", call: Evaluate) -> Any:
    """Measure on a worker; return what `model.evaluate` returns."""
    ready = prepared(queue, call)
    job = queue.submit(ready.spec)
    with Attached(job):
        progress = Progress(job, call.verbose, ready.steps)
        _followed(job, progress)
        progress.end(job.result()["value"]["metrics"])
        return outcomes.measured(job, call)


def predict(queue: "Queue", call: Predict) -> Any:
    """Predict on a worker; return what `model.predict` returns."""
    ready = prepared(queue, call)
    job = queue.submit(ready.spec)
    with Attached(job):
        progress = Progress(job, call.verbose, ready.steps)
        _followed(job, progress)
        progress.end()
        return outcomes.predicted(job, call)


def _followed(job: Job, progress: Progress, landings: Sequence[Landing] = ()) -> None:
    """Show a job's life to its end, and bring its files while it trains. Raise `JobFailed`, `JobCancelled`."""
    looked = time.monotonic()
    for event in job.events():
        progress.hear(event)
        if event.type == "epoch" and landings and time.monotonic() - looked > _LOOK_S:
            files.fetch(job, landings)
            looked = time.monotonic()
    # Also of a job that failed: what it left is worth having.
    files.fetch(job, landings)
    job.raise_for_state()
