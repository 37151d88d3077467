"""What must be well before a process starts: said with the remedy, or refused."""

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url

from shared import db, log, migrate, tables
from shared.errors import Misconfigured

#: RETURNING and partial indexes in the form that fitq uses.
_SQLITE = (3, 35, 0)
_POSTGRESQL = 13
#: File systems on which SQLite's write-ahead log does not work: its shared memory ends at the machine.
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "gpfs")

_log = log.get(__name__)


def check(engine: Engine) -> None:
    """Raise `Misconfigured` unless this database can hold fitq's jobs with this version of the code.

    A schema that is newer than the code is lived with: migrations only add before they take away.
    Raise the driver's error when the database does not answer.
    """
    if engine.dialect.name == "sqlite":
        _check_sqlite(Path(make_url(engine.url).database or ""))
    with db.read(engine) as connection:
        if engine.dialect.name == "postgresql":
            _check_postgresql(connection)
    check_schema(engine)


def exit_with_reason(process: str, main: Callable[[], None]) -> None:
    """Run a process; when it cannot start, end with one sentence: status 2 for a wrong setting, 1 for no database."""
    try:
        main()
    except Misconfigured as error:
        sys.stderr.write(f"{process}: {error.message}\n")
        sys.exit(2)
    except Exception as error:
        if not db.is_away(error):
            raise
        reason = str(error).split("\n", 1)[0]
        sys.stderr.write(f"{process}: the database (FITQ_DATABASE_URL) does not answer: {reason}\n")
        sys.exit(1)


def _check_sqlite(path: Path) -> None:
    if sqlite3.sqlite_version_info < _SQLITE:
        wanted = ".".join(map(str, _SQLITE))
        raise Misconfigured(f"SQLite {sqlite3.sqlite_version} is too old; fitq needs {wanted} (a newer Python has it).")
    kind = file_system(path, Path("/proc/mounts").read_text() if Path("/proc/mounts").exists() else "")
    if kind in _NETWORK:
        raise Misconfigured(
            f"{path} lies on a network file system ({kind}), where SQLite loses data. "
            "Set FITQ_HOME to a local folder (FITQ_VOLUME may stay), or FITQ_DATABASE_URL to a PostgreSQL."
        )
    if path.exists() and not _writable(path):
        raise Misconfigured(f"{path} cannot be written: give this user the right, or set FITQ_HOME elsewhere.")


def _writable(path: Path) -> bool:
    """Whether a transaction that writes can begin; a busy database counts as writable."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE fitq_preflight (one)")
    except sqlite3.OperationalError as error:
        return "readonly" not in str(error) and "unable to open" not in str(error)
    return True


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds `path`, by the text of /proc/mounts; empty when unknown."""
    best, kind = "", ""
    for line in mounts.splitlines():
        words = line.split()
        if len(words) > 2 and path.resolve().is_relative_to(words[1]) and len(words[1]) >= len(best):  # noqa: PLR2004
            best, kind = words[1], words[2]
    return kind


def _check_postgresql(connection: Connection) -> None:
    version = connection.dialect.server_version_info or (0,)
    if int(version[0]) < _POSTGRESQL:
        raise Misconfigured(f"PostgreSQL {version[0]} is too old; fitq needs {_POSTGRESQL} or newer.")
    if connection.execute(sa.text("SELECT pg_is_in_recovery()")).scalar_one():
        raise Misconfigured("The database is a replica, which cannot be written: set FITQ_DATABASE_URL to the primary.")
    if connection.execute(sa.text("SHOW default_transaction_read_only")).scalar_one() == "on":
        raise Misconfigured("The database is read-only for this user (default_transaction_read_only is on).")


def check_schema(engine: Engine) -> None:
    """Raise `Misconfigured` unless the schema is this version's, or a newer one."""
    with db.read(engine) as connection:
        _check_schema(connection)


def _check_schema(connection: Connection) -> None:
    remedy = "Run: python -m shared.migrate"
    known = migrate.revisions()
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        raise Misconfigured(f"The database has no fitq schema. {remedy}")
    if found in known and found != known[-1]:
        raise Misconfigured(f"The database is at revision {found}, this version needs {known[-1]}. {remedy}")
    missing = sorted(set(tables.metadata.tables) - set(sa.inspect(connection).get_table_names()))
    if missing:
        raise Misconfigured(f"The database is half migrated: {', '.join(missing)} missing. Restore it, or: {remedy}")
    if found not in known:
        _log.warning("the database is newer than this version of fitq; going on", revision=found, known=known[-1])
