"""The database: engines and transactions, for SQLite and PostgreSQL alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.errors import Misconfigured
from shared.failpoints import Reached

#: Seconds that a writer waits for another one (SQLite) or for a connection to open (PostgreSQL).
BUSY_S = 30
CONNECT_S = 5
#: Seconds that a thread waits for one of its process's connections; then the database counts as away.
POOL_S = 10
#: A statement that takes longer has met a lock or a fault; its work is repeated.
STATEMENT_MS = 20_000
#: A transaction that says nothing for so long is a frozen process; its locks must not outlast a lease.
IDLE_MS = 10_000

_POSTGRESQL = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": f"-c statement_timeout={STATEMENT_MS} -c idle_in_transaction_session_timeout={IDLE_MS}",
}


def connect(url: str, *, pool_size: int = 10) -> Engine:
    """Return an engine. It connects lazily: a database that is away is an error of the first statement."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url, pool_size)
    if parsed.get_backend_name() != "postgresql":
        raise Misconfigured(
            f"FITQ_DATABASE_URL: {parsed.get_backend_name()} is not supported; use sqlite or postgresql."
        )
    url = parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    return sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_S,
        pool_pre_ping=True,
        connect_args=_POSTGRESQL,
    )


def _sqlite(url: str, pool_size: int) -> Engine:
    name = make_url(url).database
    if not name or name == ":memory:":
        raise Misconfigured("FITQ_DATABASE_URL: a SQLite database must be a file, since several processes share it.")
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_S,
        connect_args={"timeout": BUSY_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _open_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: Any, _record: object) -> None:
    # The driver's own idea of transactions is switched off; `_begin_sqlite` says BEGIN.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a reader's transaction can fail half-way.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("fitq_read") else "BEGIN IMMEDIATE")


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Hold one transaction that may write; commit at the end, roll back on any error."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Hold one transaction that only reads, and does not wait for writers."""
    with engine.connect().execution_options(fitq_read=True) as connection, connection.begin():
        yield connection


#: SQLSTATEs after which the same work may succeed: lost or refused connections, a standby, deadlocks and
#: locks, resources that are short for now, an operator's or a time-out's cancel.
_AWAY_STATES = ("08", "25006", "25P03", "40001", "40P01", "53", "55P03", "57014", "57P")
#: Likewise SQLite's primary result codes: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
_AWAY_CODES = frozenset({5, 6, 8, 10, 13, 14})
#: Of those, a disk without room.
_FULL_STATE, _FULL_CODE = "53100", 13


def is_away(error: Exception) -> bool:
    """Whether the database (not the statement) failed, so that the same work may be tried again."""
    if isinstance(error, sa.exc.TimeoutError | Reached):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _AWAY_CODES
    if (state := getattr(error.orig, "sqlstate", None)) is not None:
        return str(state).startswith(_AWAY_STATES)
    # Without a code, nobody answered.
    return error.connection_invalidated or isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))


def is_full(error: Exception) -> bool:
    """Whether the database's disk has no room: of what `is_away` tells, the one that needs a person."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code == _FULL_CODE or getattr(error.orig, "sqlstate", None) == _FULL_STATE


def dialect_insert(connection: Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT, for this connection's database."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)
