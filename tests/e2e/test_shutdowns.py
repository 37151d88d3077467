"""Orderly ends at every moment of a job's life, and in storms: the job goes back, and no attempt is used up."""

import contextlib
import random
import signal
import time

import psutil
import pytest

from tests.e2e import invariants
from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until

#: Phases in which a runner is held; it does not hear what is asked of it there.
PHASES = ("loading data", "building", "compiling", "training", "validating", "saving", "ending")
DRAIN_S = 4.0

#: What is asked here is asked of the worker, whatever its database is.
pytestmark = on_sqlite


def held_jobs(queue, stack):
    """Submit a job for each phase and one that is held by its imports; return them when all are held."""
    (stack.home / "holding").touch()
    (stack.home / "hold an import").touch()
    jobs = [queue.submit(small())]
    until((stack.home / "held in importing").exists, "an import")
    jobs += [queue.submit(small(tags={"hold": phase})) for phase in PHASES]
    for phase in PHASES:
        until((stack.home / f"held in {phase}").exists, phase)
    return jobs


def small(**changes):
    return spec(retries=0, resources={"memory_mb": 400}, **changes)


def outcomes(stack, job):
    return stack.rows("SELECT outcome, error_code FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job.id)


def assert_undisturbed(stack, job, undisturbed):
    job.wait(PATIENCE_S).raise_for_state()
    assert job.history() == undisturbed["history"]
    assert job.result()["weights_sha256"] == undisturbed["weights"]


@pytest.fixture
def stack_of_many(new_stack):
    """A stack that runs a job in each phase at a time."""
    return new_stack(FITQ_SLOTS=str(len(PHASES) + 4), FITQ_DRAIN_S=str(DRAIN_S)).start()


def test_a_worker_is_ended_in_every_phase_of_its_jobs(stack_of_many, undisturbed):
    stack = stack_of_many
    with stack.queue() as queue:
        jobs = held_jobs(queue, stack)
        (worker,) = stack.processes("fitq worker")
        # These are being claimed and forked when the signal comes; the last ones find no slot.
        jobs += [queue.submit(small()) for _ in range(6)]
        worker.send_signal(signal.SIGTERM)
        psutil.wait_procs([worker], timeout=DRAIN_S + 5)
        assert not worker.is_running()

        (stack.home / "holding").unlink()
        for job in jobs:
            assert_undisturbed(stack, job, undisturbed)
            *before, last = outcomes(stack, job)
            assert (set(before) <= {("released", None)}, last) == (True, ("succeeded", None)), job.id
        assert sum(len(outcomes(stack, job)) == 2 for job in jobs) > len(PHASES)
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def test_a_storm_of_requests_to_end_is_one_request(new_stack, undisturbed):
    """SIGTERM, SIGINT, SIGQUIT and SIGHUP, thirty in a second, to the worker and its children."""
    stack = new_stack(FITQ_DRAIN_S="10").start()
    rolled = random.Random(1)
    with stack.queue() as queue:
        job = queue.submit(spec(retries=0))
        until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
        storm = [one for title in ("worker", "forkserver", "runner") for one in stack.processes(f"fitq {title}")]
        for _ in range(30):
            with contextlib.suppress(psutil.NoSuchProcess):
                number = rolled.choice([signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
                rolled.choice(storm).send_signal(number)
            time.sleep(0.03)
        psutil.wait_procs(storm, timeout=20)
        assert not [one for one in storm if one.is_running()]

        assert_undisturbed(stack, job, undisturbed)
        assert outcomes(stack, job) == [("released", None), ("succeeded", None)]
    assert invariants.broken(stack.rows, stack.home / "volume") == []
