"""Three workers, two hundred jobs, and the services under them taken away."""

import subprocess
import sys
import time

import pytest

import fitq
from tests.e2e.backends import Cluster, Redis
from tests.e2e.stacks import PATIENCE_S, ROOT, Stack, epochs, spec, until

TINY = {
    "kind": "train",
    "seed": 1,
    "model": {"layers": [{"Dense": {"units": 4, "activation": "relu"}}, {"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [0, 1, 1, 0]}},
    "compile": {"loss": "mse"},
    "fit": {"epochs": 3},
    "resources": {"memory_mb": 300},
}
JOBS = 200


@pytest.fixture
def services():
    """A PostgreSQL and a Redis that can be restarted."""
    cluster, broker = Cluster(), Redis()
    yield cluster, broker
    broker.kill()
    cluster.close()


@pytest.fixture
def stack(services, tmp_path):
    """A stack of three workers on those services."""
    cluster, broker = services
    (tmp_path / "home").mkdir()
    urls = {"FITQ_DATABASE_URL": cluster.url, "FITQ_BROKER_URL": broker.url, "FITQ_LEASE_S": "10"}
    stack = Stack(tmp_path / "home", **urls, FITQ_SLOTS="1").start()
    others = [subprocess.Popen([sys.executable, "-m", "worker"], cwd=ROOT, env=stack.environment) for _ in range(2)]
    until(lambda: stack.rows("SELECT count(*) FROM workers WHERE state = 'ready'") == [(3,)], "three workers")
    yield stack
    for one in others:
        one.terminate()
    for one in others:
        one.wait(60)
    stack.stop()


def submit(queue):
    """Submit until the API says yes: a database that is away is a 503, and the key makes a repeat harmless."""
    key = f"key-{time.monotonic_ns()}"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return queue.submit(TINY, idempotency_key=key).id
        except fitq.errors.FitqError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def done(stack):
    return stack.rows("SELECT count(*) FROM v_jobs WHERE state = 'succeeded'")[0][0]


@pytest.mark.timeout(900)
def test_two_hundred_jobs_run_once_each_while_redis_is_emptied_twice_and_postgresql_restarts(stack, services):
    cluster, broker = services
    with stack.queue() as queue:
        ids = [submit(queue) for _ in range(JOBS // 2)]
        until(lambda: done(stack) >= 10, "ten jobs")
        broker.restart_empty()
        until(lambda: done(stack) >= 30, "thirty jobs")
        cluster.stop()
        time.sleep(3)
        cluster.start()
        ids += [submit(queue) for _ in range(JOBS // 2)]
        until(lambda: done(stack) >= 110, "a hundred and ten jobs", seconds=2 * PATIENCE_S)
        broker.restart_empty()
        until(lambda: done(stack) == JOBS, "all jobs", seconds=3 * PATIENCE_S)

    assert sorted(row[0] for row in stack.rows("SELECT job_id FROM v_jobs")) == sorted(ids)
    assert stack.rows("SELECT count(*), count(DISTINCT job_id) FROM v_results") == [(JOBS, JOBS)]
    successes = "SELECT count(*), count(DISTINCT job_id) FROM v_attempts WHERE outcome = 'succeeded'"
    assert stack.rows(successes) == [(JOBS, JOBS)]
    assert stack.rows("SELECT count(DISTINCT worker) FROM v_attempts") == [(3,)]
    history = "SELECT count(*), min(n), max(n) FROM (SELECT job_id, count(*) AS n FROM v_epoch_metrics GROUP BY 1) AS e"
    assert stack.rows(history) == [(JOBS, 3, 3)]
    assert stack.rows("SELECT count(DISTINCT weights_sha256) FROM v_results") == [(1,)]


def test_while_postgresql_is_stopped_the_epochs_go_on_and_every_row_arrives_once(services, tmp_path):
    """`benchmarks/outage.py` does the same for minutes."""
    cluster, broker = services
    (tmp_path / "home").mkdir()
    urls = {"FITQ_DATABASE_URL": cluster.url, "FITQ_BROKER_URL": broker.url, "FITQ_LEASE_S": "2"}
    stack = Stack(tmp_path / "home", **urls, FITQ_SLOTS="1").start()
    long = spec(fit={"epochs": 40, "batch_size": 4})
    try:
        with stack.queue() as queue:
            undisturbed = queue.submit(long).wait(PATIENCE_S).raise_for_state()
            job = queue.submit(long)
            until(lambda: len(epochs(stack, job.id)) >= 3, "three epochs")
            cluster.stop()
            saved = stack.home / "volume" / "jobs" / job.id / "1" / "checkpoints"
            before = len(list(saved.glob("epoch-*")))
            until(lambda: len(list(saved.glob("epoch-*"))) > before + 10, "ten epochs without a database")
            time.sleep(5)
            cluster.start()
            until(stack.ready, "the API")
            job.wait(PATIENCE_S).raise_for_state()

            assert job.data["attempt"] == 1
            assert job.history() == undisturbed.history()
            assert job.result()["weights_sha256"] == undisturbed.result()["weights_sha256"]
        count = "SELECT epoch, count(*) FROM v_epoch_metrics WHERE job_id = :id AND name = 'loss' GROUP BY 1 ORDER BY 1"
        assert stack.rows(count, id=job.id) == [(epoch, 1) for epoch in range(40)]
        named = {row[0] for row in stack.rows("SELECT path FROM checkpoints WHERE job_id = :id", id=job.id)}
        assert {str(one.relative_to(stack.home / "volume")) for one in saved.iterdir()} == named
    finally:
        stack.stop()
