"""The arguments and options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from fitq import specfile, terminal
from fitq.errors import FitqError
from fitq.jobs import Job, Queue, connect

F = TypeVar("F", bound=Callable[..., Any])


def output(command: F) -> F:
    """Add `-o table|json`."""
    kinds = click.Choice(["table", "json"])
    return click.option(
        "-o", "--output", type=kinds, default="table", show_default=True, help="For people, or programs."
    )(command)


def job_id(command: F) -> F:
    """Add the argument ID."""
    return click.argument("job_id", metavar="ID")(command)


def job_ids(least: int) -> Callable[[F], F]:
    """Add the arguments ID …, so many at least."""

    def enough(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(values) < least:
            raise click.BadParameter(f"needs {least} jobs at least.")
        return values

    return click.argument("job_ids", metavar="ID...", nargs=-1, required=True, callback=enough)


def timeout(command: F) -> F:
    """Add `--timeout`."""
    seconds = click.FloatRange(min=0, min_open=True)
    return click.option("--timeout", type=seconds, metavar="SECONDS", help="Stop waiting then (exit code 124).")(
        command
    )


def output_file(command: F) -> F:
    """Add `-O FILE`."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("-O", "--output-file", type=path, help="Where to. [default: by name]")(command)


def downloads(name: str | None, to: Path | None) -> bool:
    """Whether a file is asked for."""
    if name is None and to is not None:
        raise click.UsageError("-O names the file of a --download.")
    return name is not None


def save(download: Callable[[], None], to: Path) -> None:
    """Do a download and print the file's name; say it when the file cannot be written."""
    try:
        download()
    except OSError as error:
        raise FitqError(f"{to}: {error.strerror}.") from error
    terminal.data(str(to))


def queue() -> Queue:
    """Return the queue of the server that the command line or the environment names."""
    ctx = click.get_current_context()
    return ctx.with_resource(connect(ctx.find_root().obj))


def find(text: str) -> Job:
    """Return the job that an ID argument means."""
    return queue().find(text)


def find_all(texts: Sequence[str]) -> list[Job]:
    """Return the jobs that several ID arguments mean, each once."""
    here = queue()
    return list({job.id: job for job in map(here.find, texts)}.values())


def tags(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Turn each `key=value` into an entry."""
    try:
        return dict(specfile.tag(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
