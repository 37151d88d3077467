"""Processes that are frozen for longer than their lease, and wake up when others have done their work."""

import contextlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from shared.failpoints import Point
from tests.e2e import invariants
from tests.e2e.stacks import PATIENCE_S, ROOT, Stack, epochs, spec, until

LEASE_S = 2.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the processes look for failpoints."""
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def pair(backend, folder, tmp_path_factory):
    """A stack with a second worker and a second control."""
    changes = {"FITQ_FAILPOINTS": str(folder), "FITQ_LEASE_S": str(LEASE_S), "FITQ_SLOTS": "1"}
    stack = Stack(tmp_path_factory.mktemp("home"), **backend.environment(), **changes).start()
    environment = {**stack.environment, "FITQ_BROKER_URL": stack.broker_url}
    others = [
        subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=environment)
        for module in ("worker", "worker.control")
    ]
    until(lambda: stack.rows("SELECT count(*) FROM workers WHERE state = 'ready'") == [(2,)], "two workers")
    yield stack
    for one in others:
        one.terminate()
    for one in others:
        one.wait(60)
    stack.stop()


@contextlib.contextmanager
def frozen(*processes):
    """Stop processes for the length of a block."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def arm(folder, point, action):
    (folder / "new").write_text(action)
    (folder / "new").rename(folder / point)


def stopped(worker, folder, point):
    until(lambda: not (folder / point).exists(), f"somebody at {point}")
    tree = [worker, *worker.children(recursive=True)]
    until(lambda: any(one.status() == psutil.STATUS_STOPPED for one in tree), "a stopped process")


def state(stack, job):
    return stack.rows("SELECT state, attempt FROM jobs WHERE id = :id", id=job.id)[0]


def worker_of(stack, job):
    """Return the process of the worker that runs a job."""
    asked = "SELECT pid FROM workers JOIN jobs ON jobs.worker = workers.name WHERE jobs.id = :id"
    return psutil.Process(until(lambda: stack.rows(asked, id=job.id), "a worker")[0][0])


def test_a_worker_that_is_frozen_while_its_runner_saves_counts_for_nothing_when_it_wakes(pair, undisturbed, folder):
    stack = pair
    with stack.queue() as queue:
        job = queue.submit(spec())
        until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
        worker = worker_of(stack, job)
        arm(folder, Point.MID_CHECKPOINT_WRITE, "stop")
        stopped(worker, folder, Point.MID_CHECKPOINT_WRITE)
        tree = [worker, *worker.children(recursive=True)]
        runners = [one for one in tree if "fitq runner" in " ".join(one.cmdline())]
        with frozen(*tree):
            until(lambda: state(stack, job) == ("succeeded", 2), "the other worker's success")
            known = rows_of(stack, job)
        until(lambda: not any(one.is_running() for one in runners), "the end of the runner that woke up")
        until(stack.ready, "a ready worker")

        assert rows_of(stack, job) == known
        assert job.refresh().history() == undisturbed["history"]
        assert job.result()["weights_sha256"] == undisturbed["weights"]
        assert worker.is_running()
        jobs = [queue.submit(spec(fit={"epochs": 1})) for _ in range(4)]
        assert [one.wait(PATIENCE_S).state for one in jobs] == ["succeeded"] * 4
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def rows_of(stack, job):
    """Return all that is known of a job."""
    queries = [
        "SELECT * FROM epoch_metrics WHERE job_id = :id ORDER BY epoch, name",
        "SELECT * FROM checkpoints WHERE job_id = :id ORDER BY name",
        "SELECT * FROM attempts WHERE job_id = :id ORDER BY attempt",
        "SELECT * FROM results WHERE job_id = :id",
        "SELECT * FROM job_events WHERE job_id = :id ORDER BY seq",
    ]
    return [stack.rows(query, id=job.id) for query in queries]


def test_a_worker_that_is_frozen_within_a_transaction_holds_nobody_up_for_long(pair, backend, undisturbed, folder):
    stack = pair
    with stack.queue() as queue, ThreadPoolExecutor(1) as pool:
        job = queue.submit(spec())
        until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
        worker = worker_of(stack, job)
        arm(folder, Point.IN_EPOCH_TX_BEFORE_COMMIT, "stop")
        stopped(worker, folder, Point.IN_EPOCH_TX_BEFORE_COMMIT)
        assert job.refresh().state == "running", "readers do not wait"
        submitted = pool.submit(lambda: queue.submit(spec(fit={"epochs": 1})))
        if backend.name == "embedded":
            # The one writer is frozen: the others wait for it, and are not told of locks.
            assert not submitted.done()
            worker.send_signal(signal.SIGCONT)
        else:
            # PostgreSQL ends a transaction that says nothing, and the reaper takes the job back.
            submitted.result(5)
            until(lambda: state(stack, job)[1] == 2, "another attempt")
            worker.send_signal(signal.SIGCONT)

        assert submitted.result(PATIENCE_S).wait(PATIENCE_S).state == "succeeded"
        job.wait(PATIENCE_S).raise_for_state()
        assert job.history() == undisturbed["history"]
        assert job.result()["weights_sha256"] == undisturbed["weights"]
    assert invariants.broken(stack.rows, stack.home / "volume") == []
