"""`fitq watch`: a job followed to its end. Ctrl-C stops the watching, never the job."""

from typing import Any, NoReturn

import click

from fitq import exits, terminal, text
from fitq.commands import arguments
from fitq.commands.outcome import show_epochs, show_result
from fitq.display import display
from fitq.errors import Conflict, NotFound
from fitq.jobs import Job
from fitq.story import Story


@click.command(short_help="Follow a job to its end.")
@arguments.job_id
@arguments.timeout
@arguments.output
def watch(job_id: str, *, timeout: float | None, output: str) -> None:
    """Follow the job ID to its end, and print what it came to.

    Ctrl-C stops the watching; the job goes on. Exits with 0 when the job succeeded, 3 when it
    failed, 4 when it was cancelled.
    """
    follow(arguments.find(job_id), output=output, timeout_s=timeout)


def follow(job: Job, *, output: str, timeout_s: float | None) -> None:
    """Show a job's life on stderr and its result on stdout; leave with the exit code of its end."""
    story = Story(job.data)
    terminal.say(f"Job {job.id}")
    try:
        with display() as shown:
            for event in job.events(timeout_s=timeout_s):
                shown.show(story, story.hear(event))
        _finish(job, story, output)
    except KeyboardInterrupt:
        _detach(job)
    click.get_current_context().exit(exits.of_state(job.state))


def _detach(job: Job) -> NoReturn:
    terminal.say(
        f"\nNo longer watching; the job goes on.\n  Come back:  fitq watch {job.id}\n  Cancel it:  fitq cancel {job.id}"
    )
    raise click.exceptions.Exit(exits.INTERRUPTED)


def _finish(job: Job, story: Story, output: str) -> None:
    result = _result(job)
    if output == "json":
        terminal.json({**job.data, "result": result})
    else:
        if story.epochs:
            show_epochs(story.epochs)
        if result is not None:
            show_result(result)
    ran = text.ran_s(job.data)
    terminal.say(f"Job {job.id} {job.state}" + (f" after {text.span(ran)}." if ran is not None else "."))
    if job.state == "failed":
        error = job.data.get("error") or {}
        terminal.say(f"Error: {error.get('message', 'no reason was given')} ({error.get('code')})")
        terminal.say(f"Its log: `fitq logs {job.id}`. Once more: `fitq retry {job.id}`.")


def _result(job: Job) -> dict[str, Any] | None:
    """Return the job's result, or None when it came to none."""
    if job.state != "succeeded":
        return None
    try:
        return job.result()
    except (Conflict, NotFound):
        return None
