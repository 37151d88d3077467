"""With 100,000 jobs, what is asked often reads an index, never a whole table.

The plans themselves are looked at: they do not depend on how busy the machine is.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from shared import db, events, jobs, listing, metrics, queues, tables, upkeep
from shared.listing import Filter
from shared.states import Kind, State

JOBS = 100_000
#: Jobs that wait, and that run; the others have succeeded.
WAITING, RUNNING = 500, 20
#: Jobs with metrics, and epochs of each.
TRAINED, EPOCHS = 5_000, 10
#: When the first of them was submitted; one each second.
START = datetime(2026, 1, 1, tzinfo=UTC)

_NUMBERS = {
    "sqlite": f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {JOBS - 1}) ",
    "postgresql": f"WITH numbers AS (SELECT n FROM generate_series(0, {JOBS - 1}) AS n) ",
}
_ID = {
    "sqlite": "printf('job_%08x-%04x-7000-8000-000000000000', n / 65536, n % 65536)",
    "postgresql": "'job_' || lpad(to_hex(n / 65536), 8, '0') || '-' || lpad(to_hex(n % 65536), 4, '0')"
    " || '-7000-8000-000000000000'",
}
_AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', '+' || n || ' seconds') || '000'",
    "postgresql": "timestamptz '2026-01-01 00:00:00+00' + make_interval(secs => n)",
}


def job_id(number: int) -> str:
    return f"job_{number // 65536:08x}-{number % 65536:04x}-7000-8000-000000000000"


def fill(connection: sa.Connection) -> None:
    """Insert the jobs, their tags and their metrics."""
    name = connection.dialect.name
    numbers, made, at = _NUMBERS[name], _ID[name], _AT[name]
    state = (
        f"CASE WHEN n >= {JOBS - WAITING} THEN 'queued' WHEN n >= {JOBS - WAITING - RUNNING} THEN 'running'"
        " ELSE 'succeeded' END"
    )
    columns = {
        "id": made,
        "kind": "CASE n % 50 WHEN 0 THEN 'evaluate' WHEN 1 THEN 'predict' ELSE 'train' END",
        "name": "'name-' || (n % 1000)",
        "state": state,
        "spec": "'{}'",
        "spec_version": "1",
        "seed": "0",
        "lane": "CASE n % 500 WHEN 0 THEN 'gpu' ELSE 'cpu' END",
        "priority": "0",
        "rank": "n",
        "memory_mb": "100",
        "retries": "3",
        "failures": "0",
        "attempt": "1",
        "reported": "0",
        "event_seq": "2",
        "version": "1",
        "worker": "'w' || (n % 4)",
        "lease_until": f"CASE {state} WHEN 'running' THEN {at} END",
        "available_at": at,
        "run_s": "1",
        "created_at": at,
        "queued_at": at,
        "finished_at": f"CASE {state} WHEN 'succeeded' THEN {at} END",
    }
    spec = columns["spec"] = "'{}'::jsonb" if name == "postgresql" else "'{}'"
    # What else must be there is a number.
    columns["held"] = "FALSE"
    columns |= {one.name: "0" for one in tables.jobs.c if not one.nullable and one.name not in columns}
    insert = f"INSERT INTO jobs ({', '.join(columns)}) {numbers} SELECT {', '.join(columns.values())} FROM numbers"

    def run(statement: str) -> None:
        # psycopg takes a single % for a parameter's.
        connection.exec_driver_sql(statement.replace("%", "%%") if name == "postgresql" else statement)

    run(insert)
    # Without it PostgreSQL would look each row's job up in a table that it holds to be empty.
    run("ANALYZE jobs")
    run(f"INSERT INTO job_tags (job_id, key, value) {numbers} SELECT {made}, 'team', 'team-' || (n % 500) FROM numbers")
    run(
        "INSERT INTO epoch_metrics (job_id, epoch, name, value, value_kind, attempt, recorded_at)"
        f" {numbers} SELECT {made}, e, 'loss', 0.5, 'finite', 1, {at}"
        f" FROM (SELECT n / {EPOCHS} AS n, n % {EPOCHS} AS e FROM numbers WHERE n < {TRAINED * EPOCHS}) AS each_epoch"
    )
    run(
        f"INSERT INTO job_events (job_id, seq, type, data, at) {numbers}"
        f" SELECT {made}, 1, 'state', {spec}, {at} FROM numbers WHERE n < {TRAINED * 4}"
    )
    run("ANALYZE")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A database with many jobs, for all tests here."""
    if request.param == "sqlite":
        copy = tmp_path_factory.mktemp("plans") / "fitq.db"
        copy.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        url = f"sqlite:///{copy}"
    else:
        server = request.getfixturevalue("postgresql_server")
        name = server.borrow()
        # Not given back for the next test: `close` drops it, full as it is.
        url = server.url(name)
    engine = db.connect(url)
    try:
        with db.write(engine) as connection:
            fill(connection)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def recorded(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are sent meanwhile, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def plans(engine: sa.Engine, ask: Callable[[sa.Connection], Any]) -> list[str]:
    """Return the plan of each statement with which something is asked; whatever it changes is taken back."""
    with engine.connect() as connection:
        with recorded(engine) as statements:
            ask(connection)
        connection.rollback()
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        found = []
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            found.append("\n".join(str(row[-1]) for row in rows))
            connection.rollback()
    assert found
    return found


#: A walk over a whole table, as SQLite and PostgreSQL write it. SQLite's SCAN of an index is in the index's order.
_WHOLE = re.compile(r"SCAN (?:jobs|epoch_metrics|job_tags|job_events)(?! USING)|Seq Scan on \w+")
_SORTED = re.compile(r"USE TEMP B-TREE FOR ORDER BY|^\s*(?:->)?\s*Sort\b", re.MULTILINE)


def page(**where: Any) -> Callable[[sa.Connection], Any]:
    before = where.pop("before", None)
    return lambda connection: listing.page(connection, where=Filter(**where), before=before, limit=51)


MIDDLE = job_id(JOBS // 2)
LISTS = {
    "newest": page(),
    "cursor": page(before=MIDDLE),
    "state": page(states=(State.SUCCEEDED,), before=MIDDLE),
    "rare-state": page(states=(State.RUNNING,)),
    "no-such-state": page(states=(State.FAILED,)),
    "kind": page(kinds=(Kind.EVALUATE,), before=MIDDLE),
    "name": page(name="name-7", before=MIDDLE),
    "lane": page(lane="gpu", before=MIDDLE),
    "no-such-lane": page(lane="interactive"),
    "tag": page(tags=(("team", "team-7"),), before=MIDDLE),
    "created": page(created_after=START + timedelta(seconds=1000), created_before=START + timedelta(seconds=2000)),
    "created-after": page(created_after=START + timedelta(seconds=JOBS - 100)),
    "created-before": page(created_before=START + timedelta(seconds=100)),
    "state-and-kind": page(states=(State.QUEUED,), kinds=(Kind.PREDICT,)),
}


#: Lists for which SQLite, without a second bound, goes through the jobs in their order until the page is full.
IN_ORDER = {"newest", "created-after", "created-before"}


@pytest.mark.parametrize("name", LISTS)
def test_a_page_of_a_list_reads_an_index(full: sa.Engine, name: str) -> None:
    for plan in plans(full, LISTS[name]):
        assert not _WHOLE.search(plan), plan
        assert name in IN_ORDER or "SCAN jobs" not in plan, plan


@pytest.mark.parametrize("name", ["newest", "cursor"])
def test_a_page_needs_no_sorting(full: sa.Engine, name: str) -> None:
    assert not _SORTED.search(plans(full, LISTS[name])[0])


def test_a_page_reads_no_specs(full: sa.Engine) -> None:
    with db.read(full) as connection, recorded(full) as statements:
        found = listing.page(connection, where=Filter(), limit=3)

    assert [one.id for one in found] == [job_id(JOBS - 1 - back) for back in range(3)]
    assert not any(re.search(r"\.(spec|source|numerics)\b", statement) for statement, _ in statements)


def claim(connection: sa.Connection) -> Any:
    return jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=1000, lease_s=30)


OTHERS: dict[str, Callable[[sa.Connection], Any]] = {
    "claim": claim,
    "reaper": upkeep.expire,
    "cancels": lambda connection: jobs.wished(connection, worker="w1"),
    "waiting": lambda connection: queues.waiting(connection, older_than_s=2),
    "running": queues.running,
    "version": lambda connection: listing.version(connection, MIDDLE),
    "job": lambda connection: listing.get(connection, MIDDLE),
    "history": lambda connection: metrics.history(connection, job_id(7)),
    "metrics": lambda connection: metrics.page(connection, job_id(7), names=("loss",), since_epoch=3),
    "events": lambda connection: events.page(connection, job_id(7), after=1),
    "tries": lambda connection: listing.tries(connection, MIDDLE),
    "why": lambda connection: listing.waiting(connection, listing.get(connection, job_id(JOBS - 3)), lease_s=30),
    "prune": lambda connection: upkeep.prune(connection, Kind.EXPORT, older_than_s=600),
    "key": lambda connection: jobs.by_key(connection, "key", None),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_asked_often_reads_an_index(full: sa.Engine, name: str) -> None:
    found = plans(full, OTHERS[name])

    # A table that is nearly empty is read whole, and rightly so.
    for plan in found:
        left = re.sub(r"Seq Scan on (?:workers|attempts|artifacts|results)\b", "", plan)
        assert not _WHOLE.search(left), plan


def test_a_claim_takes_the_first_of_its_lane_without_sorting(full: sa.Engine) -> None:
    first = plans(full, claim)[0]

    assert "ix_jobs_claim" in first
    assert not _SORTED.search(first), first


def test_the_reaper_reads_only_what_runs(full: sa.Engine) -> None:
    assert "ix_jobs_running" in plans(full, upkeep.expire)[0]
