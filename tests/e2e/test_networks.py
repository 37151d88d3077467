"""A worker on a machine of its own, whose cable to the database is taken out, spoilt, and put in again."""

import subprocess
import sys
import time

import psutil
import pytest

from tests.e2e import invariants
from tests.e2e.backends import Cluster
from tests.e2e.networks import SERVER, Cable
from tests.e2e.stacks import PATIENCE_S, ROOT, Stack, epochs, spec, until

LEASE_S = 3.0


@pytest.fixture(scope="module")
def cable():
    """Two machines."""
    cable = Cable()
    yield cable
    cable.close()


@pytest.fixture(scope="module")
def cluster(cable):
    """A PostgreSQL on one of them."""
    cluster = Cluster(SERVER, cable.at_server)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def stack(cable, cluster, tmp_path_factory):
    """A stack with a second worker, for the lane `gpu`, that reaches PostgreSQL over the cable only."""
    shared = {"FITQ_LEASE_S": str(LEASE_S), "FITQ_SLOTS": "1"}
    stack = Stack(tmp_path_factory.mktemp("home"), FITQ_DATABASE_URL=cluster.socket_url, **shared)
    # The way back is for what the far worker loses.
    stack.environment["FITQ_LANES"] = "cpu,gpu,interactive"
    stack.start()
    far = {"FITQ_DATABASE_URL": cluster.url, "FITQ_BROKER_URL": stack.broker_url, "FITQ_LANES": "gpu"}
    command = [*cable.at_worker, sys.executable, "-m", "worker"]
    with (stack.home / "logs" / "far.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env={**stack.environment, **far}, stdout=log, stderr=log)
    until(lambda: stack.rows("SELECT count(*) FROM workers WHERE state = 'ready'") == [(2,)], "two workers")
    yield stack
    worker.terminate()
    worker.wait(60)
    stack.stop()


@pytest.fixture(scope="module")
def undisturbed(stack):
    """What the digits job comes to."""
    with stack.queue() as queue:
        job = queue.submit(spec()).wait(PATIENCE_S).raise_for_state()
        return {"weights": job.result()["weights_sha256"], "history": job.history()}


#: A connection as all processes have it, only ten times as impatient: of no use any more, then a new one.
IMPATIENT = """
import sys
from shared import db

db._POSTGRESQL |= {"tcp_user_timeout": 2000, "connect_timeout": 2}
engine = db.connect(sys.argv[1])
connection = engine.connect()
connection.exec_driver_sql("SELECT 1")
print("connected", flush=True)
sys.stdin.readline()
for ask in (lambda: connection.exec_driver_sql("SELECT 1"), db.connect(sys.argv[1]).connect):
    try:
        ask()
    except Exception as error:
        print(db.is_away(error), flush=True)
"""


def test_a_connection_into_silence_is_given_up(cable, cluster):
    command = [*cable.at_worker, sys.executable, "-c", IMPATIENT, cluster.url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "connected\n"
        cable.swallow()
        try:
            said, _ = process.communicate("\n", timeout=30)
        finally:
            cable.answer()
    assert said == "True\n" * 2


def far_job(stack, queue):
    """Return a job that the far worker runs, with two epochs in SQL, while the near one is busy."""
    hung = queue.submit(spec(tags={"fault": "hang"}, resources={"lane": "cpu", "memory_mb": 700}))
    until(lambda: hung.refresh().state == "running", "a busy near worker")
    job = queue.submit(spec(resources={"lane": "gpu", "memory_mb": 700}))
    until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
    hung.cancel(now=True).wait(PATIENCE_S)
    return job


def state(stack, job):
    return stack.rows("SELECT state, attempt FROM jobs WHERE id = :id", id=job.id)[0]


def assert_well(stack, job, undisturbed):
    job.wait(PATIENCE_S).raise_for_state()
    assert job.history() == undisturbed["history"]
    assert job.result()["weights_sha256"] == undisturbed["weights"]
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def is_seen(stack):
    """Whether both workers were seen within a lease."""
    seen = "SELECT count(*) FROM workers WHERE seen_at > clock_timestamp() - interval '2 seconds' AND state = 'ready'"
    return stack.rows(seen) == [(2,)]


@pytest.mark.parametrize("how", ["unplugged", "swallowed"])
def test_a_worker_that_is_cut_off_is_replaced_and_counts_for_nothing_when_it_is_back(stack, cable, undisturbed, how):
    cut, mend = (cable.unplug, cable.plug_in) if how == "unplugged" else (cable.swallow, cable.answer)
    with stack.queue() as queue:
        job = far_job(stack, queue)
        began = time.monotonic()
        cut()
        try:
            until(lambda: state(stack, job) == ("succeeded", 2), "the near worker's success")
            time.sleep(max(0.0, 3 * LEASE_S - (time.monotonic() - began)))
        finally:
            mend()
        known = stack.rows("SELECT * FROM job_events WHERE job_id = :id ORDER BY seq", id=job.id)
        until(lambda: is_seen(stack), "the far worker")
        until(lambda: not runners(job), "the end of its runner")

        assert stack.rows("SELECT * FROM job_events WHERE job_id = :id ORDER BY seq", id=job.id) == known
        assert_well(stack, job, undisturbed)
        assert far_job(stack, queue).wait(PATIENCE_S).state == "succeeded"


def runners(job):
    return [one for one in psutil.process_iter(["cmdline"]) if f"fitq runner {job.id}" in " ".join(one.info["cmdline"])]


def test_a_worker_on_a_bad_line_keeps_its_job(stack, cable, undisturbed):
    with stack.queue() as queue:
        cable.spoil()
        job = far_job(stack, queue)
        assert_well(stack, job, undisturbed)

        assert job.data["attempt"] == 1
        assert cable.dropped() > 0
