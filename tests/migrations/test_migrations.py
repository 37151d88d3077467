"""The schema goes up, down and up again, and is what the code says."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from shared import db, migrate, preflight, tables
from shared.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_of_migrations_is_no_package():
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_the_schema_is_what_the_code_says(engine):
    with db.read(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, tables.metadata) == []


def test_up_down_and_up_again(engine, database_url):
    migrate.downgrade(database_url, "base")
    with db.read(engine) as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
        assert sa.inspect(connection).get_view_names() == []
    with pytest.raises(Misconfigured, match="has no fitq schema"):
        preflight.check(engine)

    migrate.upgrade(database_url)
    preflight.check(engine)


def test_there_is_one_head():
    command.heads(migrate.config("sqlite:///unused.db"), resolve_dependencies=True)
    from alembic.script import ScriptDirectory

    assert len(ScriptDirectory.from_config(migrate.config("sqlite:///unused.db")).get_heads()) == 1


def _view_definitions(connection):
    looked = sa.inspect(connection)
    return {name: looked.get_view_definition(name) for name in looked.get_view_names()}


def _fill(connection):
    """Put a job with an attempt and two epochs in, in the columns of revision 0001."""
    when = "2026-03-02 08:00:0{}.000000"
    job = {
        "id": "job_1", "kind": "train", "state": "succeeded", "spec": '{"fit": {"epochs": 2}}', "spec_version": 1,
        "seed": 1, "lane": "cpu", "priority": 0, "rank": 1.0, "memory_mb": 64, "retries": 3, "failures": 0,
        "furthest_step": 0, "attempt": 1, "reported": 0, "event_seq": 0, "version": 1, "available_at": when.format(0),
        "run_s": 3.0, "created_at": when.format(0), "queued_at": when.format(0), "started_at": when.format(2),
        "finished_at": when.format(6),
    }  # fmt: skip
    found = {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
    job = {name: value for name, value in job.items() if name in found}
    attempt = {"job_id": "job_1", "attempt": 1, "worker": "w", "host": "h", "started_at": when.format(2)}
    metric = {"job_id": "job_1", "name": "loss", "value_kind": "finite", "attempt": 1, "recorded_at": when.format(5)}
    for table, row in (
        ("jobs", job),
        ("attempts", attempt),
        ("epoch_metrics", metric | {"epoch": 0, "value": 2.0}),
        ("epoch_metrics", metric | {"epoch": 1, "value": 1.0}),
    ):
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)


def _rows(engine, query):
    with db.read(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_the_views_go_up_and_down_over_data(engine, database_url):
    migrate.downgrade(database_url, "0001")
    with db.write(engine) as connection:
        _fill(connection)
        before = _view_definitions(connection)
    old = _rows(engine, "SELECT * FROM v_jobs")
    assert len(old) == 1

    migrate.upgrade(database_url, "0002")
    # Whoever read the old columns by their place still does.
    (new,) = _rows(engine, "SELECT * FROM v_jobs")
    pairs = zip(new[: len(old[0])], old[0], strict=True)
    assert all(a == (pytest.approx(b, abs=0.001) if isinstance(b, float) else b) for a, b in pairs)
    assert _rows(engine, "SELECT epochs, epochs_done FROM v_jobs") == [(2, 2)]
    assert _rows(engine, "SELECT name, epoch, value FROM v_best_epoch") == [("loss", 1, 1.0)]
    assert _rows(engine, "SELECT wait_s FROM v_queue_wait") == [(pytest.approx(2),)]

    migrate.downgrade(database_url, "0001")
    with db.read(engine) as connection:
        assert _view_definitions(connection) == before
    assert _rows(engine, "SELECT * FROM v_jobs") == old
    migrate.upgrade(database_url)


def test_downgrading_the_views_gives_those_of_the_revision_before(engine, database_url):
    migrate.downgrade(database_url, "base")
    migrate.upgrade(database_url, "0001")
    with db.read(engine) as connection:
        first = {name: _words(text) for name, text in _view_definitions(connection).items()}

    migrate.upgrade(database_url, "0002")
    migrate.downgrade(database_url, "0001")
    with db.read(engine) as connection:
        assert {name: _words(text) for name, text in _view_definitions(connection).items()} == first
    migrate.upgrade(database_url)


def test_taking_the_views_newest_columns_back_leaves_those_before(engine, database_url):
    migrate.downgrade(database_url, "0006")
    with db.read(engine) as connection:
        left = {name: _words(text) for name, text in _view_definitions(connection).items()}
        comments = _comments(connection)
    migrate.downgrade(database_url, "base")
    migrate.upgrade(database_url, "0006")
    with db.read(engine) as connection:
        assert {name: _words(text) for name, text in _view_definitions(connection).items()} == left
        assert _comments(connection) == comments
    migrate.upgrade(database_url)


def _comments(connection):
    looked = sa.inspect(connection)
    if looked.dialect.name != "postgresql":
        return {}
    columns = [(name, column) for name in looked.get_view_names() for column in looked.get_columns(name)]
    on_views = {name: looked.get_table_comment(name)["text"] for name in looked.get_view_names()}
    return on_views | {(name, column["name"]): column["comment"] for name, column in columns}


def _words(text):
    return text.split()


def test_who_was_granted_a_view_keeps_it(engine, database_url):
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite grants nothing")
    migrate.downgrade(database_url, "0001")
    granted = "SELECT has_table_privilege('pg_monitor', 'v_jobs', 'SELECT')"
    with db.write(engine) as connection:
        connection.execute(sa.text("GRANT SELECT ON v_jobs TO pg_monitor"))
    migrate.upgrade(database_url)

    assert _rows(engine, granted) == [(True,)]
    with db.write(engine) as connection:
        connection.execute(sa.text("REVOKE SELECT ON v_jobs FROM pg_monitor"))
