"""`fitq cancel` and `fitq retry`: what is asked of a job."""

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


def _answer(job: Job, output: str) -> None:
    if output == "json":
        terminal.json(job.data)
    else:
        terminal.data(f"{job.id} {job.state}")
