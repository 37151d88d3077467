"""`fitq compare`: jobs side by side, ended or not."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from fitq import comparison, ids, terminal, text
from fitq.commands import arguments
from fitq.comparison import ABSENT
from fitq.errors import Conflict, NotFound
from fitq.jobs import Job


@click.command(short_help="Compare jobs: their specs, metrics and times.")
@arguments.job_ids(2)
@arguments.output
def compare(job_ids: tuple[str, ...], *, output: str) -> None:
    """Compare the jobs ID side by side: what differs in their specs, and what they came to so far."""
    jobs = arguments.find_all(job_ids)
    if len(jobs) == 1:
        raise click.UsageError("It takes two jobs to compare; these are one.")
    now = datetime.now(UTC)
    told = [_told(job, now) for job in jobs]
    differs = comparison.differences([job.data.get("spec") or {} for job in jobs])
    if output == "json":
        shown = {place: [None if one is ABSENT else one for one in values] for place, values in differs.items()}
        terminal.json({"jobs": told, "differs": shown})
        return
    rows = [*_states(told), *_metrics(told), *_specs(differs)]
    terminal.table(["", *(ids.short(job.id) for job in jobs)], rows)


def _told(job: Job, now: datetime) -> dict[str, Any]:
    """Return what is to be compared beside the specs."""
    rows = job.metrics()
    ran = comparison.ran_s(job.data, now)
    return {
        "id": job.id,
        "name": job.name,
        "kind": job.data["kind"],
        "state": job.state,
        "epochs": comparison.epochs(rows),
        "running_s": None if ran is None else round(ran, 3),
        "metrics": comparison.measured(rows) or _scores(job),
    }


def _scores(job: Job) -> dict[str, dict[str, Any]]:
    """Return the metrics of an evaluation that has succeeded."""
    if job.data["kind"] != "evaluate" or job.state != "succeeded":
        return {}
    try:
        return comparison.scored(job.result().get("value") or {})
    except (Conflict, NotFound):
        return {}


def _states(told: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = [
        ["name", *(one["name"] or "" for one in told)],
        ["state", *(one["state"] for one in told)],
        ["epochs", *(str(one["epochs"] or "") for one in told)],
        ["running time", *("" if one["running_s"] is None else text.span(one["running_s"]) for one in told)],
    ]
    return [row for row in rows if any(row[1:])]


def _metrics(told: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    names = list(dict.fromkeys(name for one in told for name in one["metrics"]))
    rows = []
    for name in names:
        found = [one["metrics"].get(name) for one in told]
        rows.append([f"best {name}", *map(_best, found)])
        rows.append([f"last {name}", *("" if one is None else _last(one) for one in found)])
    return rows


def _best(one: Mapping[str, Any] | None) -> str:
    if one is None or one["best"] is None:
        return ""
    epoch = "" if one["best_epoch"] is None else f" (epoch {one['best_epoch'] + 1})"
    return text.number(one["best"]) + epoch


def _last(one: Mapping[str, Any]) -> str:
    return text.number(one["last"], one["last_kind"])


def _specs(differs: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    return [[place, *("" if one is ABSENT else text.leaf(one) for one in values)] for place, values in differs.items()]
