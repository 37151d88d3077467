"""`fitq upload`: bring files to the server, for jobs to use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fitq import terminal
from fitq.commands import arguments
from fitq.uploads import Progress


@click.command(short_help="Bring files to the server, for jobs to use.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", help="What lists show. [default: the file's name]")
@arguments.output
def upload(files: tuple[Path, ...], *, name: str | None, output: str) -> None:
    """Bring each FILE to the server and print its name in a job spec, `sha256:…`.

    A file that the server has is not sent again. What Ctrl-C or a broken connection cut off goes on where it
    was when the same command is run again. `-` reads standard input.
    """
    here = arguments.queue()
    done = []
    for file in files:
        source = sys.stdin.buffer if str(file) == "-" else file
        try:
            with bar(file.name) as progress:
                ref = here.upload(source, name=name, progress=progress)
        except KeyboardInterrupt:
            terminal.say("What has arrived stays: the same command goes on from there.")
            raise
        done.append({"file": str(file), "ref": ref})
        if output == "table":
            terminal.data(ref)
    if output == "json":
        terminal.json(done)


@contextmanager
def bar(name: str) -> Iterator[Progress | None]:
    """Show a bar on a terminal while a file is sent; nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = terminal.console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=console, transient=True) as bars:
        bar = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
