"""A stack whose PostgreSQL dies, ends connections at random, refuses to serialize, and locks; and a wrong clock."""

import contextlib
import random
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

import fitq
from tests.e2e import invariants
from tests.e2e.backends import Cluster, Redis
from tests.e2e.clocks import WrongClock
from tests.e2e.stacks import PATIENCE_S, ROOT, Stack, epochs, spec, until

LEASE_S = 2.0
JOBS = 12


@pytest.fixture(scope="module")
def cluster():
    """A PostgreSQL of the test's own."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def stack(cluster, tmp_path_factory):
    """A stack on it."""
    broker = Redis()
    urls = {"FITQ_DATABASE_URL": cluster.url, "FITQ_BROKER_URL": broker.url}
    stack = Stack(tmp_path_factory.mktemp("home"), **urls, FITQ_SLOTS="2", FITQ_LEASE_S=str(LEASE_S)).start()
    yield stack
    stack.stop()
    broker.kill()


@pytest.fixture(scope="module")
def undisturbed(stack):
    """What the digits job comes to."""
    with stack.queue() as queue:
        job = queue.submit(spec()).wait(PATIENCE_S).raise_for_state()
        return {"weights": job.result()["weights_sha256"], "history": job.history()}


def assert_same(job, undisturbed):
    job.wait(PATIENCE_S).raise_for_state()
    assert job.history() == undisturbed["history"]
    assert job.result()["weights_sha256"] == undisturbed["weights"]


def test_a_database_that_is_away_for_three_leases_costs_no_epoch_and_no_attempt(stack, cluster, undisturbed):
    with stack.queue() as queue:
        jobs = [queue.submit(spec()) for _ in range(2)]
        until(lambda: all(len(epochs(stack, job.id)) >= 2 for job in jobs), "two epochs of each")
        cluster.stop()
        time.sleep(3 * LEASE_S)
        cluster.start()
        for job in jobs:
            assert_same(job, undisturbed)
            assert job.data["attempt"] == 1
    assert invariants.broken(stack.rows, stack.home / "volume") == []


class Trouble:
    """Ends connections and takes locks at random, some times a second, in a thread."""

    def __init__(self, url, seed):
        self._engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
        )
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.terminated = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self):
        with self._engine.connect() as connection:
            while not self._over.wait(self._random.uniform(0.1, 0.5)):
                found = (
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
                pids = connection.execute(sa.text(found)).scalars().all()
                if pids:
                    end = sa.text("SELECT pg_terminate_backend(:pid)")
                    self.terminated += connection.execute(end, {"pid": self._random.choice(pids)}).scalar_one()
                if self._random.random() < 0.2:
                    lock = "BEGIN; LOCK TABLE jobs IN EXCLUSIVE MODE; SELECT pg_sleep(0.3); COMMIT"
                    connection.exec_driver_sql(lock)


def submit(queue, key):
    """Submit as a client does that is told to try again."""

    def tried():
        with contextlib.suppress(fitq.errors.FitqError):
            return queue.submit(spec(fit={"epochs": 3}), idempotency_key=key).id
        return None

    return until(tried, "a submit")


def test_terminated_connections_serialization_failures_and_locks_cost_nothing(stack, cluster, undisturbed):
    name = cluster.url.rpartition("/")[2]
    cluster.sql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with stack.queue() as queue, Trouble(cluster.url, seed=5) as trouble:
        ids = [submit(queue, f"trouble-{number}") for number in range(JOBS)]
        until(lambda: not lacking(stack, ids), "the end of all jobs", seconds=2 * PATIENCE_S)
        until(lambda: trouble.terminated >= JOBS, f"{JOBS} connections that were ended")

    assert len(set(ids)) == JOBS
    found = {row[0]: row[1:] for row in stack.rows("SELECT id, state, attempt FROM jobs")}
    assert {found[one] for one in ids} == {("succeeded", 1)}
    history = {name: values[:3] for name, values in undisturbed["history"].items()}
    with stack.queue() as queue:
        assert all(queue.job(one).history() == history for one in ids)
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def lacking(stack, ids):
    """Return the jobs that have not ended; a question whose connection is ended is asked again."""
    try:
        states = dict(stack.rows("SELECT id, state FROM jobs"))
    except sa.exc.DBAPIError:
        return ids
    return [one for one in ids if states[one] in {"queued", "running"}]


@pytest.fixture
def wrong_clock(stack, tmp_path):
    """The clock of a worker of its own, which alone serves the lane `gpu`; it is an hour ahead."""
    clock = WrongClock(tmp_path)
    clock.set(3600)
    environment = {**stack.environment, "FITQ_LANES": "gpu", **clock.environment}
    worker = subprocess.Popen([sys.executable, "-m", "worker"], cwd=ROOT, env=environment)
    until(lambda: stack.rows("SELECT count(*) FROM workers WHERE state = 'ready'") == [(2,)], "two workers")
    yield clock
    worker.terminate()
    worker.wait(60)


def test_a_worker_whose_clock_is_wrong_and_steps_keeps_its_lease_and_writes_true_times(stack, undisturbed, wrong_clock):
    with stack.queue() as queue:
        job = queue.submit(spec(resources={"memory_mb": 700, "lane": "gpu"}))
        until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
        assert wrong_time(stack) == []
        wrong_clock.set(-3600)
        assert_same(job, undisturbed)

        assert job.data["attempt"] == 1
        assert wrong_time(stack) == []
        # It goes on to live, and to be seen.
        time.sleep(2 * LEASE_S)
        assert queue.submit(spec(resources={"memory_mb": 700, "lane": "gpu"})).wait(PATIENCE_S).state == "succeeded"
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def wrong_time(stack):
    """Return what says that it happened in the future, or has a lease that ends later than leases do."""
    queries = [
        "SELECT id, lease_until FROM jobs WHERE lease_until > clock_timestamp() + interval '10 seconds'",
        "SELECT job_id, at FROM job_events WHERE at > clock_timestamp()",
        "SELECT name, seen_at FROM workers WHERE seen_at > clock_timestamp()",
    ]
    return [row for query in queries for row in stack.rows(query)]
