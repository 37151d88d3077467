"""`fitq show`, `logs`, `metrics`, `history` and `result`: one job, read."""

from pathlib import Path
from typing import Any

import click

from fitq import ids, terminal, text
from fitq.commands import arguments
from fitq.commands.outcome import show_result
from fitq.errors import Conflict, NotFound
from fitq.jobs import Job

_SHOWN = (
    ("id", "id"),
    ("name", "name"),
    ("kind", "kind"),
    ("state", "state"),
    ("attempt", "attempt"),
    ("waiting_reason", "waits because"),
    ("queue_position", "jobs before it"),
    ("cancel_requested", "end asked for"),
    ("worker", "worker"),
    ("lane", "lane"),
    ("priority", "priority"),
    ("seed", "seed"),
    ("created_at", "created"),
    ("started_at", "started"),
    ("finished_at", "finished"),
)


@click.command(short_help="Show one job.")
@arguments.job_id
@arguments.output
def show(job_id: str, *, output: str) -> None:
    """Show the job ID: its state, and why it waits or failed. `-o json` has its spec, too."""
    job = arguments.find(job_id)
    if output == "json":
        terminal.json(job.data)
        return
    terminal.fields([*_known(job), *_told(job), *_tries(job)])


def _known(job: Job) -> list[tuple[str, object]]:
    return [(title, job.data[key]) for key, title in _SHOWN if job.data.get(key) is not None]


def _told(job: Job) -> list[tuple[str, object]]:
    """Return what takes more than one value to tell."""
    progress, error = job.data.get("progress") or {}, job.data.get("error")
    ran, tags = text.ran_s(job.data), job.data.get("tags") or {}
    rows: list[tuple[str, object]] = [(f"tag {key}", value) for key, value in tags.items()]
    if progress:
        rows.append(("progress", f"{progress.get('phase', '')} {text.epochs(job.data)}"))
        rows.append(("metrics", text.metrics(progress.get("metrics") or {})))
    if ran is not None:
        rows.append(("took", text.span(ran)))
    if error:
        rows.append(("error", f"{error.get('message')} ({error.get('code')})"))
    return [row for row in rows if row[1]]


def _tries(job: Job) -> list[tuple[str, object]]:
    """Return a line for each attempt: how long it ran where, and how it ended."""
    return [(f"attempt {one['attempt']}", _try(one)) for one in (job.attempts() if job.data.get("attempt") else [])]


def _try(one: dict[str, Any]) -> str:
    ran = text.ran_s({"started_at": one["started_at"], "finished_at": one["ended_at"]})
    parts = [one.get("outcome") or "runs"]
    if ran is not None:
        parts.append(f"after {text.span(ran)}")
    parts.append(f"on {one['worker']}")
    if one.get("resumed_epoch") is not None:
        parts.append(f"from epoch {one['resumed_epoch'] + 1}")
    error = one.get("error")
    return " ".join(parts) + (f": {error['message']} ({error['code']})" if error else "")


@click.command(short_help="Print what a job printed.")
@arguments.job_id
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, through all attempts, to the job's end.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="The Nth attempt's. [default: the last one's]")
def logs(job_id: str, *, follow: bool, tail: int | None, attempt: int | None) -> None:
    """Print what the job ID printed while it ran, or with -f what it prints."""
    job = arguments.find(job_id)
    if follow:
        _follow(job, tail, attempt)
        return
    said = job.logs(tail=tail, attempt=attempt)
    if said:
        terminal.data(said)


def _follow(job: Job, tail: int | None, attempt: int | None) -> None:
    shown = 0
    for part in job.follow_logs(tail=tail, attempt=attempt):
        if part.said:
            terminal.say(part.said)
        if part.text:
            if shown not in {0, part.attempt}:
                terminal.say(f"--- attempt {part.attempt} ---")
            shown = part.attempt
            terminal.piece(part.text)


@click.command(short_help="Print a job's metrics, epoch by epoch.")
@arguments.job_id
@arguments.output
def metrics(job_id: str, *, output: str) -> None:
    """Print the metrics of the job ID: one line for each epoch, counted from 1."""
    rows = arguments.find(job_id).metrics()
    if output == "json":
        terminal.json(rows)
        return
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    epochs: dict[int, dict[str, str]] = {}
    for row in rows:
        epochs.setdefault(row["epoch"], {})[row["name"]] = text.number(row["value"], row["value_kind"])
    lines = [[str(epoch + 1), *(values.get(name, "") for name in names)] for epoch, values in epochs.items()]
    terminal.table(["EPOCH", *names], lines, right=names)


@click.command(short_help="Print what Keras's History.history holds.")
@arguments.job_id
@arguments.output
def history(job_id: str, *, output: str) -> None:
    """Print the dictionary that Keras's `fit` would have returned as `History.history`."""
    lists = arguments.find(job_id).history()
    if output == "json":
        terminal.json(lists)
        return
    terminal.fields((name, " ".join(text.number(value) for value in values)) for name, values in lists.items())


@click.command(short_help="Print what a job came to.")
@arguments.job_id
@click.option("--download", metavar="NAME", help="Download this file that the job left, such as predictions.npz.")
@arguments.output_file
@arguments.output
def result(job_id: str, *, download: str | None, output_file: Path | None, output: str) -> None:
    """Print the result of the job ID: metrics of an evaluation, predictions, a training's summary.

    Exits with 3 when the job failed, with 4 when it was cancelled.
    """
    job = arguments.find(job_id)
    if arguments.downloads(download, output_file):
        name = download or ""
        target = output_file or Path(f"{ids.short(job.id)}-{Path(name).name}")
        arguments.save(lambda: job.download_artifact(name, target), target)
        return
    found = _result(job)
    if output == "json":
        terminal.json(found)
    else:
        show_result(found)


def _result(job: Job) -> dict[str, Any]:
    try:
        return job.result()
    except (Conflict, NotFound):
        job.refresh().raise_for_state()
        raise
