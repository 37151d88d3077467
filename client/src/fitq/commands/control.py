"""`fitq cancel`, `pause`, `resume`, `save`, `retry`, `delete`: what is asked of a job."""

import click

from fitq import terminal
from fitq.commands import arguments
from fitq.jobs import Job


@click.command(short_help="Ask for a job's end.")
@arguments.job_id
@click.option("--now", is_flag=True, help="Kill it at once, without a checkpoint.")
@arguments.output
def cancel(job_id: str, *, now: bool, output: str) -> None:
    """Ask for the end of the job ID: after this epoch, with a checkpoint; or at once."""
    job = arguments.find(job_id).cancel(now=now)
    _answer(job, output)
    if job.state == "running" and output != "json":
        terminal.say("It is asked to stop " + ("at once." if now else "after this epoch; `--now` kills it."))


@click.command(short_help="Queue a failed or cancelled job again.")
@arguments.job_id
@arguments.output
def retry(job_id: str, *, output: str) -> None:
    """Queue the failed or cancelled job ID again; it goes on from its last checkpoint."""
    _answer(arguments.find(job_id).retry(), output)


@click.command(short_help="Hold a job back until it is resumed.")
@arguments.job_id
@arguments.output
def pause(job_id: str, *, output: str) -> None:
    """Hold the job ID back; a running one saves a checkpoint and goes back to its lane."""
    _answer(arguments.find(job_id).pause(), output)


@click.command(short_help="Let a paused job go on, or train an ended one further.")
@arguments.job_id
@click.option("--epochs", type=click.IntRange(1), help="Epochs in all for an ended job, those that are done included.")
@click.option("--name", help="The new job's name.")
@arguments.output
def resume(job_id: str, *, epochs: int | None, name: str | None, output: str) -> None:
    """Let the paused job ID go on; or train on where an ended one stopped, as a new job, and print that one's id."""
    _answer(arguments.find(job_id).resume(epochs=epochs, name=name), output)


@click.command(short_help="Ask a running job for a checkpoint now.")
@arguments.job_id
@arguments.output
def save(job_id: str, *, output: str) -> None:
    """Ask the running train job ID for a checkpoint after its next step."""
    _answer(arguments.find(job_id).save(), output)


@click.command(short_help="Delete an ended job's files.")
@arguments.job_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@arguments.output
def delete(job_id: str, *, yes: bool, output: str) -> None:
    """Delete the checkpoints, artifacts and logs of the ended job ID. Its history stays in SQL."""
    job = arguments.find(job_id)
    if not yes:
        click.confirm(f"Delete the files of {job.id} ({job.state}, {job.name or 'no name'})?", abort=True, err=True)
    _answer(job.delete(), output)


def _answer(job: Job, output: str) -> None:
    if output == "json":
        terminal.json(job.data)
    else:
        terminal.data(f"{job.id} {job.state}")
