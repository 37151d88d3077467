"""What `fitq sql` prints: an answer's rows, or the views that there are."""

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from fitq import terminal, text
from shared.readonly import Answer
from shared.views import VIEWS


def show(answer: Answer, output: str) -> None:
    """Print the rows: as a table for people, as a list of JSON objects, or as CSV with a head."""
    columns = _distinct(answer.columns)
    rows = [[plain(value) for value in row] for row in answer.rows]
    if output == "json":
        terminal.json([dict(zip(columns, row, strict=True)) for row in rows])
    elif output == "csv":
        _csv(columns, rows)
    else:
        numbers = [name for index, name in enumerate(columns) if _are_numbers([row[index] for row in rows])]
        terminal.table(columns, [[_cell(value) for value in row] for row in rows], right=numbers)


def show_views(output: str) -> None:
    """Print the views and what their columns hold."""
    if output == "json":
        terminal.json({name: {"comment": view.sentence, "columns": view.columns} for name, view in VIEWS.items()})
        return
    rows = [(name, column, said) for name, view in VIEWS.items() for column, said in view.columns.items()]
    if output == "csv":
        _csv(["view", "column", "comment"], rows)
        return
    width = max(len(column) for _, column, _ in rows)
    for name, view in VIEWS.items():
        terminal.data(f"{name}: {view.sentence}")
        for column, said in view.columns.items():
            terminal.data(f"  {column:<{width}}  {said}")


def _distinct(columns: Sequence[str]) -> list[str]:
    """Return the columns' names; of equal ones the second is called name_2."""
    found: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in found:
            name, number = f"{column}_{number}", number + 1
        found.append(name)
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON can say it, and the same from both databases: moments are UTC, as SQLite keeps them."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, Decimal):
        # PostgreSQL's sum of integers is a whole numeric.
        value = int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _are_numbers(values: Sequence[Any]) -> bool:
    found = [value for value in values if value is not None]
    return bool(found) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    # A program gets what is there; a terminal nothing that it would obey.
    click.echo(text.clean(written.getvalue()) if sys.stdout.isatty() else written.getvalue(), nl=False)
