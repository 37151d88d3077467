"""`fitq submit`: a file becomes a job."""

import sys
from pathlib import Path
from typing import Any

import click

from fitq import specfile, terminal, text
from fitq.commands import arguments
from fitq.commands.watch import follow
from fitq.errors import BadSpecFile


@click.command(short_help="Queue the job in a JSON or YAML file.")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--check", is_flag=True, help="Only say what the job would need; queue nothing.")
@click.option("--watch", is_flag=True, help="Follow the job to its end.")
@click.option("--name", help="Name the job, whatever the file says.")
@click.option("--priority", type=click.IntRange(-100, 100), help="One point is worth ten minutes of waiting.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=arguments.tags, help="Add a tag; repeatable."
)
@click.option("--idempotency-key", metavar="KEY", help="Under the same key, the same job is queued only once.")
@arguments.timeout
@arguments.output
def submit(
    file: str,
    *,
    check: bool,
    watch: bool,
    name: str | None,
    priority: int | None,
    tags: dict[str, str],
    idempotency_key: str | None,
    timeout: float | None,
    output: str,
) -> None:
    """Queue the job in FILE (JSON or YAML; - reads standard input).

    Prints the job's id. What is printed means: this job will run.
    """
    if check and watch:
        raise click.UsageError("--check queues nothing that --watch could follow.")
    spec = changed(read(file), name=name, priority=priority, tags=tags)
    if check:
        show_check(arguments.queue().check(spec), output)
        return
    job = arguments.queue().submit(spec, idempotency_key=idempotency_key)
    if watch:
        follow(job, output=output, timeout_s=timeout)
    elif output == "json":
        terminal.json(job.data)
    else:
        terminal.data(job.id)
        if sys.stderr.isatty():
            terminal.say(f"Follow it with `fitq watch {job.id}`, or end it with `fitq cancel {job.id}`.")


def read(file: str) -> dict[str, Any]:
    """Return the job in a file, or in standard input; raise `BadSpecFile`."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return specfile.read("<stdin>" if file == "-" else file, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadSpecFile(f"{file}: this is no text: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        raise BadSpecFile(f"{file}: {error.strerror}.") from error


def changed(spec: dict[str, Any], *, name: str | None, priority: int | None, tags: dict[str, str]) -> dict[str, Any]:
    """Return the job with what the command line says about it."""
    asked: dict[str, Any] = {key: value for key, value in (("name", name), ("priority", priority)) if value is not None}
    known = spec.get("tags", {})
    if tags and isinstance(known, dict):
        asked["tags"] = {**known, **tags}
    return {**spec, **asked}


def show_check(needs: dict[str, Any], output: str) -> None:
    """Print what a job would need."""
    if output == "json":
        terminal.json(needs)
    else:
        terminal.fields(text.flat(needs))
