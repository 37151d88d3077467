"""Steps longer than a lease, time limits, and cancels at moments at which a runner hears nothing.

How soon a cancel is carried out is measured by `benchmarks/recovery.py`.
"""

import contextlib
import time

import pytest

import fitq
from tests.e2e import invariants
from tests.e2e.stacks import PATIENCE_S, Stack, epochs, spec, until


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack that runs many jobs at a time."""
    stack = Stack(tmp_path_factory.mktemp("home"), FITQ_SLOTS="8", FITQ_LEASE_S="3").start()
    yield stack
    stack.stop()


@pytest.fixture
def queue(stack):
    with stack.queue() as found:
        yield found
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def small(**changes):
    return spec(resources={"memory_mb": 400, **changes.pop("resources", {})}, **changes)


def test_a_step_that_takes_three_leases_loses_none(queue):
    job = queue.submit(small(tags={"fault": "doze"}, fit={"epochs": 1})).wait(PATIENCE_S)

    assert (job.state, job.data["attempt"]) == ("succeeded", 1)


def test_a_time_limit_in_the_middle_of_an_epoch_keeps_the_checkpoints(stack, queue):
    job = queue.submit(small(fit={"epochs": 5000}, resources={"time_limit_s": 4})).wait(PATIENCE_S)

    assert (job.state, job.data["error"]["code"]) == ("failed", "timeout")
    done = epochs(stack, job.id)
    assert 0 < len(done) < 5000
    assert int(job.checkpoints()[0]["name"].removeprefix("epoch-")) >= done[-1] - 1


@pytest.mark.parametrize("fault", ["operation", "xla", "gil"])
def test_cancel_now_waits_for_no_operation_and_no_compiler(stack, queue, fault):
    job = queue.submit(small(tags={"fault": fault}))
    if fault == "gil":
        until(lambda: stack.processes(f"fitq runner {job.id}"), "the runner")
    else:
        until((stack.home / f"in {fault}").exists, fault)

    assert job.cancel(now=True).wait(PATIENCE_S).state == "cancelled"
    assert stack.processes(f"fitq runner {job.id}") == []


@pytest.mark.parametrize("phase", ["loading data", "building", "compiling", "validating", "saving", "ending"])
def test_cancel_now_in_any_phase_is_a_cancel(stack, queue, phase):
    (stack.home / "holding").touch()
    job = queue.submit(small(tags={"hold": phase}))
    until((stack.home / f"held in {phase}").exists, phase)

    assert job.cancel(now=True).wait(PATIENCE_S).state == "cancelled"
    assert stack.rows("SELECT count(*) FROM v_results WHERE job_id = :id", id=job.id) == [(0,)]


def test_a_cancel_at_any_moment_ends_as_cancelled_or_succeeded_and_never_as_both(stack, queue):
    jobs = []
    for moment in range(16):
        job = queue.submit(small(fit={"epochs": 2, "batch_size": 64}))
        if moment % 4:
            until(lambda job=job: job.refresh().state != "queued", "a claim")
        time.sleep(0.12 * (moment // 2))
        jobs.append(job)
        with contextlib.suppress(fitq.errors.Conflict):  # It has ended meanwhile.
            queue.job(job.id).cancel(now=bool(moment % 2))
    ended = [job.wait(PATIENCE_S) for job in jobs]

    assert {job.state for job in ended} <= {"cancelled", "succeeded"}
    for job in ended:
        results = stack.rows("SELECT count(*) FROM v_results WHERE job_id = :id", id=job.id)
        assert results == [(1 if job.state == "succeeded" else 0,)]
