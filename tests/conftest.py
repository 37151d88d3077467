"""Both databases, migrated, one empty copy per test.

`database_url` is parametrized: whoever asks for it (or for `engine`, `settings`) runs on SQLite and
on PostgreSQL. A PostgreSQL that does not answer skips at home and fails in CI.
"""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from shared import db, migrate, tables
from shared.settings import Settings
from tests.lacking import lacking

#: The server on which throw-away databases are made.
POSTGRESQL = os.environ.get("FITQ_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1/")
#: Nobody listens here: what works with this broker works without one.
NO_BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="session", autouse=True)
def _logs_beside_the_tests() -> None:
    """Keep what threads log away from the output that a later test looks at."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "fitq.db"
    migrate.upgrade(f"sqlite:///{path}")
    engine = db.connect(f"sqlite:///{path}")
    with engine.connect() as connection:
        # Everything into the one file: the copy takes no -wal along.
        connection.rollback()
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    engine.dispose()
    return path


class Server:
    """A PostgreSQL server, and the databases that tests borrow from it."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._admin = self._connect("postgres")
        self._prefix = f"fitq_test_{uuid.uuid4().hex[:10]}"
        self._free: list[str] = []
        self._made: list[str] = []
        self._tables: list[str] = []
        self.template = f"{self._prefix}_template"

    def _connect(self, name: str) -> sa.Engine:
        url = self._url.set(database=name)
        return sa.create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args={"connect_timeout": 5}
        )

    def url(self, name: str) -> str:
        return self._url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(sa.text(statement))

    def make_template(self) -> None:
        self._made.append(self.template)
        self.run(f'CREATE DATABASE "{self.template}"')
        migrate.upgrade(self.url(self.template))
        self._tables = self._existing(self.template)

    def borrow(self) -> str:
        """Return an empty database: a new copy of the template, or one that was given back."""
        if self._free:
            return self._free.pop()
        name = f"{self._prefix}_{len(self._made)}"
        self._made.append(name)
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{self.template}"')
        # Tests lose nothing in a power cut.
        self.run(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next test; one whose tables have changed is not used again."""
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        if self._existing(name) != self._tables:
            return
        with self._connect(name).connect() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        self._free.append(name)

    def _existing(self, name: str) -> list[str]:
        with self._connect(name).connect() as connection:
            looked = sa.inspect(connection)
            found = [*looked.get_table_names(), *looked.get_view_names()]
            if "alembic_version" in found:
                found += connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars()
        return sorted(found)

    def close(self) -> None:
        for name in self._made:
            self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A server with a migrated template database."""
    server = Server(POSTGRESQL)
    try:
        server.run("SELECT 1")
    except sa.exc.OperationalError as error:
        lacking(f"no PostgreSQL at {POSTGRESQL}: {str(error).splitlines()[0]}")
    try:
        server.make_template()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database of this test's own."""
    if request.param == "sqlite":
        copy = tmp_path / "fitq.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), copy)
        yield f"sqlite:///{copy}"
        return
    server: Server = request.getfixturevalue("postgresql_server")
    name = server.borrow()
    yield server.url(name)
    server.give_back(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on that database."""
    engine = db.connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with an empty data folder."""
    path = tmp_path / "volume"
    (path / "data").mkdir(parents=True)
    return path


@pytest.fixture
def settings(database_url: str, volume: Path, tmp_path: Path) -> Settings:
    """Settings for that database and volume, and a broker that nobody answers for."""
    return Settings(home=tmp_path / "home", database_url=database_url, volume=volume, broker_url=NO_BROKER)
