"""Keras's calls through a queue: prepared here, run there, waited for."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fitq import errors, follow, terminal
from fitq.calls import Call, Evaluate, Fit, Predict
from fitq.jobs import Job
from fitq.local import files, outcomes, scalars, specs
from fitq.local.files import Landing
from fitq.local.progress import Progress
from fitq.local.specs import Prepared
from fitq.local.upload import Sending

if TYPE_CHECKING:
    from fitq.jobs import Queue

T = TypeVar("T")

#: Seconds between two looks at the files that a running job's callbacks leave.
_LOOK_S = 2.0
#: Errors that say that the server is not there at the moment.
_AWAY = (errors.NoServer, errors.Unavailable)


def prepared(queue: "Queue", call: Call) -> Prepared:
    """Send what a call needs and return its job, ready to be submitted. Raise `CannotTravel`."""
    try:
        with Sending(queue, quiet=call.verbose == 0) as upload:
            if isinstance(call, Fit):
                return specs.of_fit(call, upload)
            return specs.of_evaluate(call, upload) if isinstance(call, Evaluate) else specs.of_predict(call, upload)
    except KeyboardInterrupt:
        terminal.say("\nInterrupted: nothing was queued. What has arrived stays; the same call sends the rest.")
        raise


def outcome(queue: "Queue", call: Call) -> Any:
    """Run a call on a worker and return what Keras's own returns."""
    if isinstance(call, Fit) and _is_done(call):
        return _untrained(call)
    ready = prepared(queue, call)
    with attached(queue, ready.spec) as job:
        if isinstance(call, Fit):
            return _fitted(job, call, ready)
        return _read(job, call, ready, outcomes.measured if isinstance(call, Evaluate) else outcomes.predicted)


def _is_done(call: Fit) -> bool:
    """Whether a fit begins at its last epoch, or behind it."""
    asked = scalars.plain(call)
    return asked.epochs <= asked.initial_epoch


def _untrained(call: Fit) -> Any:
    """Let Keras do what it does without an epoch: nothing is trained, the History is empty, and there is no job."""
    arguments = {one.name: getattr(call, one.name) for one in dataclasses.fields(call)}
    model, _ = arguments.pop("model"), arguments.pop("extras")
    history = model.fit(**arguments)
    history.job = None
    return history


def _fitted(job: Job, call: Fit, ready: Prepared) -> Any:
    """Wait for a training and leave its outcome in the model; return Keras's History."""
    assert ready.callbacks is not None  # noqa: S101 - a fit has them
    callbacks = ready.callbacks
    _followed(job, Progress(job, call.verbose, ready.steps), callbacks.landings)
    _patiently(lambda: outcomes.trained(job, call, callbacks))
    return _patiently(lambda: outcomes.history(job, call, callbacks, steps=ready.steps))


def _read(job: Job, call: Evaluate | Predict, ready: Prepared, read: Callable[[Job, Any], Any]) -> Any:
    """Wait for a job without epochs and return what it came to."""
    progress = Progress(job, call.verbose, ready.steps)
    _followed(job, progress)
    progress.end(_patiently(job.result)["value"].get("metrics"))
    return _patiently(lambda: read(job, call))


def _followed(job: Job, progress: Progress, landings: Sequence[Landing] = ()) -> None:
    """Show a job's life to its end, and bring its files while it trains. Raise `JobFailed`, `JobCancelled`."""
    looked = time.monotonic()
    for event in job.events():
        progress.hear(event)
        if event.type == "epoch" and landings and time.monotonic() - looked > _LOOK_S:
            # A server that is away for a while costs this look only.
            with contextlib.suppress(*_AWAY):
                files.fetch(job, landings)
            looked = time.monotonic()
    # Also of a job that failed: what it left is worth having.
    _patiently(lambda: files.fetch(job, landings))
    job.raise_for_state()


def _patiently(ask: Callable[[], T]) -> T:
    """Ask for what an ended job left, as long as a server may be away that is waited for."""
    deadline = time.monotonic() + follow.PATIENCE_S
    while True:
        try:
            return ask()
        except _AWAY:
            if time.monotonic() > deadline:
                raise
        time.sleep(follow.POLL_S)


@contextlib.contextmanager
def attached(queue: "Queue", spec: Mapping[str, Any]) -> Iterator[Job]:
    """Queue a job that somebody waits for: whom an interruption or a lost server parts from it learns the way back."""
    try:
        job = queue.submit(spec)
    except KeyboardInterrupt:
        terminal.say("\nInterrupted while the job was being queued: `fitq jobs` shows whether it was.")
        raise
    try:
        yield job
    except (KeyboardInterrupt, *_AWAY):
        terminal.say(_way_back(job))
        raise


def _way_back(job: Job) -> str:
    one = job.id
    told = f"has {job.state}" if job.ended else "goes on"
    lines = [
        f"\nNo longer waiting. The job {one} {told}.",
        f'  Come back:    job = queue.job("{one}").watch()      (or: fitq watch {one})',
    ]
    if job.data.get("kind") == "train":
        lines.append("  Its weights:  job.load_into(model)")
    if not job.ended:
        lines.append(f'  Cancel it:    queue.job("{one}").cancel()           (or: fitq cancel {one})')
    return "\n".join(lines)
