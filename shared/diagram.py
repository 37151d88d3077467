"""The tables as a mermaid diagram: `python -m shared.diagram > docs/er.md`."""

import re
import sys
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from shared import tables

_HEAD = """# The tables

How the tables hang together, on PostgreSQL; SQLite has the same. They may change with any version: what you may
rely on are the views of [sql.md](sql.md).

```mermaid
erDiagram
"""
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def text() -> str:
    """Return docs/er.md as it is committed."""
    found = tables.metadata.sorted_tables
    lines = [*_relations(found), *(line for table in found for line in _entity(table))]
    return _HEAD + "\n".join(f"    {line}" for line in lines) + "\n```\n"


def _relations(found: list[sa.Table]) -> Iterator[str]:
    """One line for each foreign key: how many rows of a table may point at one row of the other."""
    for table in found:
        for column in table.columns:
            for key in column.foreign_keys:
                yield f"{key.column.table.name} {_ends(table, column)} {table.name} : {column.name}"


def _ends(table: sa.Table, column: sa.Column[object]) -> str:
    one = "|o" if column.nullable else "||"
    alone = [*table.primary_key.columns] == [column]
    return f"{one}--{'o|' if alone else 'o{'}"


def _entity(table: sa.Table) -> Iterator[str]:
    yield f"{table.name} {{"
    yield from (f"    {_attribute(column)}" for column in table.columns)
    yield "}"


def _attribute(column: sa.Column[object]) -> str:
    """Return a column as mermaid writes an attribute: type, name, keys, comment."""
    kind = re.sub(r"\(.*?\)", "", column.type.compile(_DIALECT)).lower()
    kind = "timestamptz" if kind.startswith("timestamp") else kind.replace(" ", "_")
    keys = ", ".join(word for word, is_so in (("PK", column.primary_key), ("FK", bool(column.foreign_keys))) if is_so)
    # Mermaid has no way to write these in a comment.
    said = f'"{re.sub("[<>]", "", column.comment).replace(chr(34), chr(39))}"' if column.comment else ""
    return " ".join(filter(None, (kind, column.name, keys, said)))


if __name__ == "__main__":
    sys.stdout.write(text())
