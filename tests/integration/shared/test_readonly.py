"""Somebody's SQL can read, and nothing else, whatever it says."""

import sqlite3
import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa

from shared import db, readonly, tables
from shared.clock import now
from shared.errors import Misconfigured
from shared.readonly import Refused

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

SELECTS = [
    "SELECT name FROM workers",
    "select name from workers;",
    "  -- whose?\n /* the\nworkers' */ SELECT name FROM workers -- these\n ; \n",
    "WITH x AS (SELECT worker AS name FROM v_worker_load) SELECT name FROM x",
    "SELECT name FROM workers WHERE name LIKE '%w%' AND name <> ';%s%(x)s'",
]

WRITES = [
    "INSERT INTO workers (name) VALUES ('x')",
    "UPDATE jobs SET state = 'queued'",
    "DELETE FROM jobs",
    "DROP VIEW v_jobs",
    "CREATE TABLE mine (x INTEGER)",
    "CREATE TEMPORARY TABLE mine (x INTEGER)",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "EXPLAIN DELETE FROM jobs",
    "/* SELECT */ DELETE FROM jobs",
    "-- SELECT\nDELETE FROM jobs",
    "",
    " ; ",
]

MORE_THAN_ONE = [
    "SELECT 1; DELETE FROM jobs",
    "SELECT 1; COMMIT; DELETE FROM jobs",
    "SELECT 1; SELECT 2",
    "SELECT 1 /* */ ; /* */ DROP VIEW v_jobs",
]

HOSTILE = {
    "sqlite": [
        "PRAGMA writable_schema = 1",
        "SELECT * FROM pragma_journal_mode",
        "SELECT * FROM pragma_query_only(0)",
        "ATTACH 'other.db' AS other",
        "SELECT load_extension('evil.so')",
        "WITH x AS (SELECT 1) INSERT INTO workers (name) SELECT 'x'",
        "WITH x AS (SELECT 1) DELETE FROM jobs",
        "SELECT zeroblob(1000000000)",
        "SELECT no_such_column FROM v_jobs",
        "SELECT",
        "SELECT '\0'",
    ],
    "postgresql": [
        "WITH x AS (DELETE FROM jobs RETURNING 1) SELECT * FROM x",
        "WITH x AS (SELECT 1) DELETE FROM jobs",
        "SELECT 1 INTO mine",
        "SELECT * FROM jobs FOR UPDATE",
        "SELECT nextval('nothing')",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT no_such_column FROM v_jobs",
        "SELECT $1",
        "SELECT '\0'",
    ],
}


def worker(name):
    row = {"name": name, "host": "h", "pid": 1, "lanes": [], "slots": 1, "state": "ready", "free_memory_mb": 1}
    return {**row, "version": "1", "started_at": now(), "seen_at": now()}


@pytest.fixture
def content(engine):
    """Check that a test has changed nothing."""

    def read():
        with db.read(engine) as connection:
            names = sorted([*sa.inspect(connection).get_table_names(), *sa.inspect(connection).get_view_names()])
            return names, [tuple(row) for row in connection.execute(sa.select(tables.workers))]

    with db.write(engine) as connection:
        connection.execute(sa.insert(tables.workers).values(**worker("w")))
    before = read()
    yield
    assert read() == before


def ask(url, statement, *, limit=10, timeout_s=30.0):
    return readonly.query(url, statement, limit=limit, timeout_s=timeout_s)


def test_a_select_is_answered(database_url, content):
    for statement in SELECTS:
        answer = ask(database_url, statement)
        assert (answer.columns, [tuple(row) for row in answer.rows], answer.more) == (["name"], [("w",)], False)


def test_values_are_an_answer_too(database_url):
    assert [tuple(row) for row in ask(database_url, "VALUES (1, 'a'), (2, 'b')").rows] == [(1, "a"), (2, "b")]


def test_what_does_not_read_is_refused(database_url, content):
    for statement in WRITES:
        with pytest.raises(Refused, match="Only reading is allowed"):
            ask(database_url, statement)


def test_a_second_statement_is_refused(database_url, content):
    for statement in MORE_THAN_ONE:
        with pytest.raises(Refused, match="refuses the statement"):
            ask(database_url, statement)


def test_the_database_refuses_what_gets_past_the_first_word(database_url, content):
    for statement in HOSTILE[database_url.partition(":")[0]]:
        with pytest.raises(Refused) as caught:
            ask(database_url, statement)
        assert "\n" not in caught.value.message


def test_the_authorizer_says_no_although_the_file_could_be_written(sqlite_template, tmp_path):
    copy = tmp_path / "fitq.db"
    copy.write_bytes(sqlite_template.read_bytes())
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute("CREATE TEMPORARY TABLE mine (x INTEGER)")
    readonly._close_doors(connection, deadline=float("inf"))
    for statement in (
        "DELETE FROM workers",
        "INSERT INTO mine VALUES (1)",
        f"ATTACH '{tmp_path}/other.db' AS other",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "BEGIN",
        "SAVEPOINT s",
        "DROP VIEW v_jobs",
        "ANALYZE",
        "REINDEX",
        f"VACUUM INTO '{tmp_path}/copy.db'",
        "SELECT load_extension('x')",
    ):
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|denied|prohibited|too many attached"):
            connection.execute(statement)
    connection.close()
    assert not list(tmp_path.glob("other*")) + list(tmp_path.glob("copy*"))


def test_what_a_function_writes_all_the_same_is_rolled_back(engine, database_url, content):
    if database_url.startswith("sqlite"):
        pytest.skip("is for postgresql")
    # Before PostgreSQL 16 a READ ONLY transaction lets large objects through.
    with suppress(Refused):
        ask(database_url, "SELECT set_config('default_transaction_read_only', 'off', false), lo_create(0)")
    with db.read(engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM pg_largeobject_metadata")).scalar_one() == 0


def test_an_endless_statement_is_stopped(database_url):
    with pytest.raises(Refused, match=r"took longer than 0\.3 s"):
        ask(database_url, ENDLESS, timeout_s=0.3)


def test_a_statement_that_sleeps_is_stopped(database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite cannot sleep")
    with pytest.raises(Refused, match=r"took longer than 0\.3 s"):
        ask(database_url, "SELECT set_config('statement_timeout', '0', false), pg_sleep(600)", timeout_s=0.3)


def test_the_answer_is_cut_and_says_so(database_url):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n"

    some, all_of_them = ask(database_url, numbers, limit=3), ask(database_url, numbers, limit=1000)
    assert ([row[0] for row in some.rows], some.more) == ([1, 2, 3], True)
    assert (len(all_of_them.rows), all_of_them.more) == (1000, False)


def test_a_writer_does_not_keep_a_reader_waiting(engine, database_url):
    with db.write(engine) as connection:
        connection.execute(sa.insert(tables.workers).values(**worker("new")))
        assert ask(database_url, "SELECT count(*) FROM workers").rows[0][0] == 0


def test_a_file_with_a_strange_name_is_no_option(tmp_path, sqlite_template):
    odd = tmp_path / "a?mode=rwc&b #c%20.db"
    odd.write_bytes(sqlite_template.read_bytes())
    url = sa.URL.create("sqlite", database=str(odd)).render_as_string()

    assert ask(url, "SELECT count(*) FROM v_jobs").rows == [(0,)]
    assert {path.name.removeprefix(odd.name) for path in tmp_path.iterdir()} <= {"", "-shm", "-wal"}


def test_without_a_database_the_remedy_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="FITQ_DATABASE_URL"):
        ask(f"sqlite:///{tmp_path / 'none.db'}", "SELECT 1")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(Misconfigured, match="cannot be reached"):
        ask("postgresql://nobody@127.0.0.1:1/none", "SELECT 1")


def test_what_is_no_database_is_a_sentence(tmp_path):
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    with pytest.raises(Refused, match="file is not a database"):
        ask(f"sqlite:///{tmp_path / 'text.db'}", "SELECT * FROM v_jobs")


def test_many_may_ask_at_once(database_url):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(database_url, "SELECT 1").rows)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tuple(rows[0]) for rows in answers] == [(1,)] * 4
