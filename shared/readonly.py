"""Somebody's own SQL, which can read and nothing else: one statement, for so long, so many rows.

What holds it is the database, not the text of the statement: SQLite opens the file read-only and asks
an authorizer about every step, PostgreSQL runs a cursor in a READ ONLY transaction.
"""

import re
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from shared import db
from shared.errors import FitqError, Misconfigured

#: Bytes of one value, at most (SQLite): no statement fills the memory with a single one.
_VALUE_BYTES = 16_000_000
#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 10_000
#: Seconds that a reader waits for a file that another process has locked.
_LOCKED_S = 5.0

#: What a statement may do in SQLite; PRAGMAs and functions are asked about by name.
_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_PRAGMAS = {"table_info", "table_xinfo", "table_list"}
_FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer"}

#: Comments and brackets before a statement's first word, and the word.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)
_READS = {"select", "with", "values"}


@dataclass(frozen=True)
class Answer:
    """The rows of an answer, and whether there were more of them than asked for."""

    columns: list[str]
    rows: list[Sequence[Any]]
    more: bool


class Refused(FitqError):
    """The statement was not answered."""

    code = "bad_query"


def query(url: str, statement: str, *, limit: int, timeout_s: float) -> Answer:
    """Answer one SELECT with at most `limit` rows.

    Raise `Refused` when it is no single SELECT, is wrong, or takes longer; `Misconfigured` without a database.
    """
    found = _FIRST_WORD.match(statement)
    if not found or found.group(1).lower() not in _READS:
        raise Refused("Only reading is allowed: a statement begins with SELECT, WITH or VALUES.")
    answer = _sqlite if make_url(url).get_backend_name() == "sqlite" else _postgresql
    return answer(url, statement.rstrip().rstrip(";"), limit, timeout_s)


def _took_longer(timeout_s: float) -> Refused:
    return Refused(f"The statement took longer than {timeout_s:g} s and was stopped.")


def _refused(error: Exception) -> Refused:
    first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return Refused(f"The database refuses the statement: {first}.")


# --- SQLite ---


def _sqlite(url: str, statement: str, limit: int, timeout_s: float) -> Answer:
    path = Path(make_url(url).database or "").resolve()
    if not path.is_file():
        raise Misconfigured(f"There is no database at {path}: FITQ_HOME or FITQ_DATABASE_URL says where it is.")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_LOCKED_S)
        try:
            _close_doors(connection, time.monotonic() + timeout_s)
            cursor = connection.execute(statement)
            rows = cursor.fetchmany(limit + 1)
            return Answer([column[0] for column in cursor.description], rows[:limit], len(rows) > limit)
        finally:
            connection.close()
    # A second statement is a Warning before Python 3.12; text that is no UTF-8 is a ValueError.
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
        raise _said(error, timeout_s) from error


def _close_doors(connection: sqlite3.Connection, deadline: float) -> None:
    """Leave a connection nothing but reading, and that until the deadline (of the monotonic clock)."""
    connection.execute("PRAGMA query_only=ON").close()
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
    connection.set_authorizer(_authorize)


def _authorize(action: int, first: str | None, second: str | None, *_where: str | None) -> int:
    """Answer SQLite, which asks about every step of a statement before it runs."""
    allowed = (
        action in _ACTIONS
        or (action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _PRAGMAS)
        or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _FORBIDDEN_FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _said(error: Exception, timeout_s: float) -> Refused:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_INTERRUPT:
        return _took_longer(timeout_s)
    if code == sqlite3.SQLITE_AUTH:
        return Refused(f"Only reading is allowed ({error}).")
    return _refused(error)


# --- PostgreSQL ---


def _postgresql(url: str, statement: str, limit: int, timeout_s: float) -> Answer:
    engine = db.connect(url, pool_size=1)
    try:
        with engine.connect() as connection:
            return _fetch(connection.connection.driver_connection, statement, limit, timeout_s)
    except sa.exc.DBAPIError as error:
        raise Misconfigured(f"The database cannot be reached: {str(error.orig).splitlines()[0]}") from error
    finally:
        engine.dispose()


def _fetch(connection: Any, statement: str, limit: int, timeout_s: float) -> Answer:
    """Run the statement as a cursor, so that it can only select, and only `limit` rows come over the wire."""
    import psycopg

    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    limits = "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true)"
    try:
        with connection.cursor() as cursor:
            # This takes the transaction's snapshot: from here on nothing can make it READ WRITE.
            cursor.execute(limits, (str(max(1, int(timeout_s * 1000))),))
            # Prepared, it is a single statement to the server whatever it holds.
            cursor.execute(f"DECLARE fitq_sql NO SCROLL CURSOR FOR {statement}".encode(), prepare=True)
            cursor.execute(f"FETCH FORWARD {limit + 1} FROM fitq_sql".encode())
            rows = cursor.fetchall()
            return Answer([column.name for column in cursor.description], rows[:limit], len(rows) > limit)
    except psycopg.errors.QueryCanceled as error:
        raise _took_longer(timeout_s) from error
    except (psycopg.Error, ValueError) as error:
        raise _refused(error) from error
