"""`fitq watch`: jobs followed to their end. Ctrl-C stops the watching, never a job."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from fitq import exits, terminal, text
from fitq.commands import arguments
from fitq.commands.outcome import show_ends, show_epochs, show_result
from fitq.display import display, label
from fitq.errors import Conflict, NotFound
from fitq.jobs import Job
from fitq.story import Line, Story
from fitq.together import together


@click.command(short_help="Follow jobs to their end.")
@arguments.job_ids(1)
@arguments.timeout
@arguments.output
def watch(job_ids: tuple[str, ...], *, timeout: float | None, output: str) -> None:
    """Follow the jobs ID to their end, and print what they came to.

    Ctrl-C stops the watching; the jobs go on. Exits with 0 when all succeeded, 3 when any
    failed, 4 when any was cancelled and none failed.
    """
    jobs = arguments.find_all(job_ids)
    if len(jobs) == 1:
        follow(jobs[0], output=output, timeout_s=timeout)
    else:
        follow_all(jobs, output=output, timeout_s=timeout)


def follow(job: Job, *, output: str, timeout_s: float | None) -> None:
    """Show a job's life on stderr and its result on stdout; leave with the exit code of its end."""
    with detachable([job]):
        _finish(job, attend(job, timeout_s=timeout_s), output)
    click.get_current_context().exit(exits.of_states([job.state]))


def attend(job: Job, *, timeout_s: float | None) -> Story:
    """Show a job's life on stderr, to its end; return what it was. Raise `WaitTimeout`."""
    story = Story(job.data)
    terminal.say(f"Job {job.id}")
    # Who waited for the submit's answer has the end, and what it came to, in it.
    if job.data.get("result") is None:
        with display([story]) as shown:
            for event in job.events(timeout_s=timeout_s):
                shown.show(story, story.hear(event))
    return story


def follow_all(jobs: Sequence[Job], *, output: str, timeout_s: float | None) -> None:
    """Show the lives of jobs on stderr and a table of their ends on stdout; leave with the worst end's exit code."""
    stories = {job.id: Story(job.data) for job in jobs}
    for job in jobs:
        terminal.say(f"Job {job.id}" + (f"  {job.name}" if job.name else ""))
    with detachable(jobs):
        with display(list(stories.values())) as shown, together(jobs, timeout_s=timeout_s) as events:
            for job, event in events:
                story = stories[job.id]
                ended = [Line(_ended(job))] if event.type == "job" and job.ended else []
                shown.show(story, [*story.hear(event), *ended])
        results = {job.id: _result(job) for job in jobs}
    if output == "json":
        terminal.json([{**job.data, "result": results[job.id]} for job in jobs])
    else:
        show_ends([job.data for job in jobs], list(stories.values()))
    for job in jobs:
        _explain(job, label(stories[job.id]))
    click.get_current_context().exit(exits.of_states([job.state for job in jobs]))


@contextmanager
def detachable(jobs: Sequence[Job]) -> Iterator[None]:
    """Let Ctrl-C end the command and not the jobs, and say how to come back to them."""
    try:
        yield
    except KeyboardInterrupt:
        running = [job for job in jobs if not job.ended]
        terminal.say("\n".join(["", *_ways_back(running, jobs)]))
        raise click.exceptions.Exit(exits.INTERRUPTED) from None


def _ways_back(running: Sequence[Job], jobs: Sequence[Job]) -> list[str]:
    back = "  Come back:  fitq watch " + " ".join(job.id for job in running or jobs)
    if not running:
        return [f"No longer watching; {'the job has' if len(jobs) == 1 else 'all jobs have'} ended.", back]
    one = len(running) == 1
    goes_on = f"No longer watching; the {'job goes' if one else 'jobs go'} on."
    return [goes_on, back, f"  Cancel {'it:  ' if one else 'one: '}fitq cancel {running[0].id}"]


def _finish(job: Job, story: Story, output: str) -> None:
    result = _result(job)
    if output == "json":
        terminal.json({**job.data, "result": result})
    else:
        if story.epochs:
            show_epochs(story.epochs)
        if result is not None:
            show_result(result)
    terminal.say(f"Job {job.id} {_ended(job)}")
    _explain(job)


def _ended(job: Job) -> str:
    ran = text.ran_s(job.data)
    return job.state + (f" after {text.span(ran)}." if ran is not None else ".")


#: What a job failed of that no retry mends, by the code of its failure.
_TO_MEND = {"bad_data": "data", "bad_spec": "job", "nan_loss": "job"}


def _explain(job: Job, named: str = "") -> None:
    """Say why a job failed, and what may be done about it."""
    if job.state != "failed":
        return
    error = job.data.get("error") or {}
    prefix = f"{named}  " if named else ""
    terminal.say(f"{prefix}Error: {error.get('message', 'no reason was given')} ({error.get('code')})")
    once_more = f"Once more: `fitq retry {job.id}`."
    if what := _TO_MEND.get(error.get("code", "")):
        once_more = f"A retry alone would end the same: mend the {what} and submit again."
    terminal.say(f"{prefix}Its log: `fitq logs {job.id}`. {once_more}")


def _result(job: Job) -> dict[str, Any] | None:
    """Return the job's result, or None when it came to none."""
    if job.state != "succeeded":
        return None
    try:
        return job.result()
    except (Conflict, NotFound):
        return None
