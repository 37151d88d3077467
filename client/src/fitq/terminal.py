"""The two streams: data on stdout, everything else on stderr."""

import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fitq import text

#: Columns that a terminal needs to show whole ids beside the rest.
_WIDE = 120
#: Columns of a table that no terminal bounds.
_UNBOUNDED = 10_000


def console(*, stderr: bool = False) -> Console:
    """Return the console of one stream. NO_COLOR is obeyed; nothing that a server says is markup."""
    found = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not found.is_terminal:
        found.width = _UNBOUNDED
    return found


def is_narrow() -> bool:
    """Whether stdout is a terminal too narrow for whole ids beside anything else."""
    return console().is_terminal and shutil.get_terminal_size().columns < _WIDE


def say(message: str) -> None:
    """Tell the person something that is no data."""
    click.echo(text.clean(message), err=True)


def data(value: str) -> None:
    """Write data, cleaned of what a terminal would obey."""
    click.echo(text.clean(value), nl=not value.endswith("\n"))


def piece(value: str) -> None:
    """Write a part of a text as it is, but for what a terminal would obey."""
    click.echo(text.clean(value), nl=False)


def json(value: Any) -> None:
    """Write data as JSON."""
    click.echo(text.as_json(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Write a table of data; the first column is never cut. `right` names the columns of numbers."""
    grid = Table(box=box.SIMPLE_HEAD if console().is_terminal else None, pad_edge=False, show_edge=False)
    for column in columns:
        justify: Any = "right" if column in right else "left"
        grid.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis" if column != columns[0] else "fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    _print(grid)


def fields(rows: Iterable[tuple[str, object]]) -> None:
    """Write names and values, one pair in a line."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name, style="bold"), _cell(value))
    _print(grid)


def _cell(value: object) -> Text:
    said = text.line(value)
    return Text(said, style=STATE_STYLES.get(said, ""))


#: Colours of the states.
STATE_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


def _print(grid: Table) -> None:
    if not grid.columns or (not grid.show_header and not grid.row_count):
        return
    target = console()
    if target.is_terminal:
        target.print(grid)
        return
    with target.capture() as captured:
        target.print(grid)
    click.echo("\n".join(one.rstrip() for one in captured.get().splitlines()))
