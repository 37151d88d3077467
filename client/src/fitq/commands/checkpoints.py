"""`fitq checkpoints`: the saved states of a job, and their files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fitq import ids, terminal, text
from fitq.commands import arguments


@click.command(short_help="List a job's checkpoints, or download one.")
@arguments.job_id
@click.option(
    "--download", metavar="NAME", help="Download this one: a name, `final`, `last`, `best` or an epoch from 0."
)
@arguments.output_file
@arguments.output
def checkpoints(job_id: str, *, download: str | None, output_file: Path | None, output: str) -> None:
    """List the checkpoints of the job ID, the newest first, or download one."""
    job = arguments.find(job_id)
    if arguments.downloads(download, output_file):
        name = download or ""
        target = output_file or Path(f"{ids.short(job.id)}-{Path(name).name}.npz")
        arguments.save(lambda: job.download_checkpoint(name, target), target)
        return
    found = job.checkpoints()
    if output == "json":
        terminal.json(found)
        return
    now = datetime.now(UTC)
    columns = ["NAME", "EPOCHS", "STEPS", "BYTES", "VALUE", "BEST", "AGE"]
    terminal.table(columns, [_row(one, now) for one in found], right=["EPOCHS", "STEPS", "BYTES", "VALUE", "AGE"])
    if not found:
        terminal.say("There is no checkpoint yet.")


def _row(one: dict[str, Any], now: datetime) -> list[str]:
    monitored = f"{one['monitor']} {text.number(one['value'])}" if one.get("monitor") else ""
    counts = [str(one.get(key, "")) for key in ("epoch", "step", "bytes")]
    best = "best" if one.get("is_best") else ""
    return [str(one["name"]), *counts, monitored, best, text.age(one.get("created_at"), now)]
