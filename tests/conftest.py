"""Both databases, migrated, one fresh copy per test.

`database_url` is parametrized: whoever asks for it (or for `engine`, `settings`) runs on SQLite and
on PostgreSQL. A PostgreSQL that does not answer skips at home and fails in CI.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared import db, migrate
from shared.settings import Settings

#: The server on which throw-away databases are made.
POSTGRESQL = os.environ.get("FITQ_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1/")
#: Nobody listens here: what works with this broker works without one.
NO_BROKER = "redis://127.0.0.1:1/0"


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
    """A PostgreSQL server on which databases are made and dropped."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(
            self._url.set(database="postgres"), isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
        )
        self.prefix = f"fitq_test_{uuid.uuid4().hex[:10]}"
        self.template = f"{self.prefix}_template"

    def url(self, name: str) -> str:
        return self._url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def run(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.execute(sa.text(statement))

    def drop(self, name: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A server with a migrated template database."""
    server = Server(POSTGRESQL)
    try:
        server.run(f'CREATE DATABASE "{server.template}"')
    except sa.exc.OperationalError as error:
        server.close()
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL at {POSTGRESQL}: {str(error).splitlines()[0]}")
    try:
        migrate.upgrade(server.url(server.template))
        yield server
    finally:
        server.drop(server.template)
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
    name = f"{server.prefix}_{uuid.uuid4().hex[:8]}"
    server.run(f'CREATE DATABASE "{name}" TEMPLATE "{server.template}"')
    yield server.url(name)
    server.drop(name)


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
