"""docs/reader-role.sql: the reader reads the views, not the tables, and writes nothing."""

import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from shared import readonly, tables
from shared.views import VIEWS

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "reader-role.sql"


def run(url, script):
    """Run a script as `psql -f` does: all of its statements, each for itself."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.connection.driver_connection.execute(script)
    engine.dispose()


@pytest.fixture
def reader(postgresql_server):
    """The URL of a reader of a database of its own; roles belong to the whole server, so this one has another name."""
    name, role = postgresql_server.borrow(), f"fitq_reader_{uuid.uuid4().hex[:10]}"
    url = sa.make_url(postgresql_server.url(name)).set(drivername="postgresql+psycopg")
    script = SCRIPT.read_text().replace("fitq_reader", role)
    try:
        run(url, script)
        run(url, script)
        yield url.set(username=role)
    finally:
        run(url, f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
        postgresql_server.give_back(name)


@pytest.fixture
def connection(reader):
    engine = sa.create_engine(reader, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def refused(connection, statement):
    with pytest.raises(DBAPIError) as caught:
        connection.execute(sa.text(statement))
    return str(caught.value.orig)


def test_the_reader_reads_every_view(connection):
    assert [connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one() for name in VIEWS]


def test_the_reader_reads_no_table(connection):
    for name in [*tables.metadata.tables, "alembic_version"]:
        assert f"permission denied for table {name}" in refused(connection, f"SELECT * FROM {name}")
    assert "permission denied" in refused(connection, "SELECT spec FROM jobs")


def test_the_reader_writes_nothing_even_when_it_may_try(connection):
    assert "read-only transaction" in refused(connection, "CREATE TEMPORARY TABLE mine (x integer)")

    connection.execute(sa.text("SET default_transaction_read_only = off"))
    for statement in (
        "DELETE FROM v_epoch_metrics",
        "UPDATE v_checkpoints SET is_best = true",
        "DELETE FROM jobs",
        "TRUNCATE jobs",
        "CREATE TABLE mine (x integer)",
        "CREATE TEMPORARY TABLE mine (x integer)",
        "CREATE OR REPLACE VIEW v_job_tags AS SELECT 1",
        "DROP VIEW v_jobs",
    ):
        assert "permission denied" in refused(connection, statement) or "must be owner" in refused(
            connection, statement
        )


def test_the_reader_is_kept_from_accidents(connection):
    shown = {
        name: connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in ("statement_timeout", "timezone")
    }
    assert shown == {"statement_timeout": "1min", "timezone": "UTC"}


def test_fitq_sql_works_as_the_reader(reader):
    answer = readonly.query(reader.render_as_string(), "SELECT count(*) FROM v_jobs", limit=1, timeout_s=10)
    assert [tuple(row) for row in answer.rows] == [(0,)]
