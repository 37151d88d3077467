"""PostgreSQL's own refusals, as the server really says them: each is told from a statement that is wrong."""

import threading

import pytest
import sqlalchemy as sa

from shared import db, jobs, spec

#: SQLite has one writer, and nobody who could end its connection.
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def two(engine, tiny):
    """The ids of two waiting jobs."""
    with db.write(engine) as connection:
        return [jobs.submit(connection, spec.parse(tiny)).job_id for _ in range(2)]


def touch(connection, job_id):
    connection.execute(sa.text("UPDATE jobs SET version = version + 1 WHERE id = :id"), {"id": job_id})


def refusal(action):
    """Return the error that an action ends with."""
    with pytest.raises(sa.exc.DBAPIError) as caught:
        action()
    return caught.value


def test_a_deadlock(engine, two):
    first, second = two
    errors = []
    meet = threading.Barrier(2)

    def take(one, other):
        try:
            with db.write(engine) as connection:
                touch(connection, one)
                meet.wait()
                touch(connection, other)
        except sa.exc.DBAPIError as error:
            errors.append(error)

    threads = [threading.Thread(target=take, args=order) for order in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (error,) = errors
    assert error.orig.sqlstate == "40P01"
    assert db.is_away(error)


def test_a_serialization_failure(engine, two):
    first, _ = two
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as late:
        late.execute(sa.text("SELECT version FROM jobs"))
        with db.write(engine) as connection:
            touch(connection, first)
        error = refusal(lambda: touch(late, first))

    assert error.orig.sqlstate == "40001"
    assert db.is_away(error)


@pytest.mark.parametrize(("limit", "state"), [("lock_timeout", "55P03"), ("statement_timeout", "57014")])
def test_a_lock_that_somebody_keeps(engine, two, limit, state):
    first, _ = two
    with db.write(engine) as keeper:
        touch(keeper, first)
        with engine.connect() as late:
            late.execute(sa.text(f"SET LOCAL {limit} = '100ms'"))
            error = refusal(lambda: touch(late, first))

    assert error.orig.sqlstate == state
    assert db.is_away(error)


@pytest.mark.parametrize("how", ["terminated", "idle"])
def test_a_connection_that_the_server_ends(engine, two, how):
    first, _ = two
    with engine.connect() as victim:
        pid = victim.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        if how == "terminated":
            with db.write(engine) as connection:
                connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        else:
            victim.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '100ms'"))
            with db.read(engine) as connection:
                gone = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
                while connection.execute(gone, {"pid": pid}).scalar_one():
                    connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
        error = refusal(lambda: touch(victim, first))

    assert db.is_away(error)
