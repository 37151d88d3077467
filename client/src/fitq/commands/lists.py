"""`fitq jobs` and `fitq workers`: what is there."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from fitq import ids, terminal, text
from fitq.commands import arguments
from fitq.jobs import Job

_STATES = click.Choice(["queued", "running", "succeeded", "failed", "cancelled"])
_KINDS = click.Choice(["train", "evaluate", "predict"])


@click.command(short_help="List jobs, the newest first.")
@click.option("--state", "states", type=_STATES, multiple=True, help="Only these; repeatable.")
@click.option("--kind", type=_KINDS, help="Only these.")
@click.option("--name", help="Only those of this name.")
@click.option("--lane", help="Only those of this lane.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=arguments.tags, help="Only those; repeatable."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@arguments.output
def jobs(*, limit: int, output: str, **wanted: Any) -> None:
    """List jobs, the newest first."""
    found = list(islice(arguments.queue().jobs(**wanted, limit=limit + 1), limit + 1))
    more = len(found) > limit
    if output == "json":
        terminal.json([job.data for job in found[:limit]])
    else:
        now = datetime.now(UTC)
        columns = ["ID", "STATE", "KIND", "EPOCH", "AGE", "NAME", "TAGS"]
        terminal.table(columns, [_row(job, now) for job in found[:limit]], right=["EPOCH", "AGE"])
    if more:
        terminal.say(f"There are more; `--limit {limit * 5}` shows more of them.")
    elif not found:
        terminal.say("There is no such job.")


def _row(job: Job, now: datetime) -> list[str]:
    shown = ids.short(job.id) if terminal.is_narrow() else job.id
    tags = ",".join(f"{key}={value}" for key, value in (job.data.get("tags") or {}).items())
    age = text.age(job.data.get("created_at"), now)
    return [shown, job.state, str(job.data["kind"]), text.epochs(job.data), age, job.name or "", tags]


@click.command(short_help="List the workers.")
@arguments.output
def workers(*, output: str) -> None:
    """List the workers that are there."""
    found = arguments.queue().workers()
    if output == "json":
        terminal.json(found)
        return
    now = datetime.now(UTC)
    columns = ["NAME", "STATE", "LANES", "SLOTS", "FREE MB", "SEEN", "HOST", "VERSION"]
    terminal.table(columns, [_worker(one, now) for one in found], right=["SLOTS", "FREE MB", "SEEN"])
    if not found:
        terminal.say("No worker is there: jobs wait until one starts.")


def _worker(one: dict[str, Any], now: datetime) -> list[str]:
    lanes = ",".join(str(lane) for lane in one.get("lanes") or [])
    seen = text.age(one.get("seen_at"), now)
    keys = ("host", "version")
    told = [str(one.get(key, "")) for key in ("slots", "free_memory_mb")]
    return [str(one["name"]), str(one["state"]), lanes, *told, seen, *(str(one.get(key, "")) for key in keys)]
