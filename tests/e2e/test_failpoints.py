"""Processes that die, freeze or are lied to at the worst moments, one after another: no job is lost or different."""

import contextlib

import pytest

import fitq
from shared.failpoints import Point
from tests.e2e import invariants
from tests.e2e.backends import on_postgresql, on_sqlite
from tests.e2e.stacks import Stack, epochs, spec, until

#: How an attempt ends that its worker did not live to end.
LOST = ("failed", "worker_lost")
CRASHED = ("failed", "crashed")
DONE = ("succeeded", None)


@pytest.fixture(scope="module")
def failing(backend, tmp_path_factory):
    """A stack whose processes look for failpoints."""
    home = tmp_path_factory.mktemp("failing-home")
    stack = Stack(home, **backend.environment(), FITQ_FAILPOINTS=str(home), FITQ_LEASE_S="2").start()
    yield stack
    stack.stop()


def arm(stack, point, action):
    (stack.home / f"{point}.new").write_text(action)
    (stack.home / f"{point}.new").rename(stack.home / point)


def reached(stack, point):
    until(lambda: not (stack.home / point).exists(), f"somebody at {point}")


def submit(stack, key, body):
    """Submit as a client does that loses its connection: again, under the same key."""

    def tried():
        with contextlib.suppress(fitq.errors.FitqError, OSError), stack.queue() as queue:
            return queue.submit(body, idempotency_key=key).id
        return None

    return until(tried, "an API that answers")


def ended(stack, job_id):
    """Wait for a job's end; an API that is starting again is waited for."""

    def state():
        return stack.rows("SELECT state FROM jobs WHERE id = :id", id=job_id)[0][0]

    until(lambda: state() not in {"queued", "running"}, f"the end of {job_id}")
    until(lambda: stack.processes(f"fitq runner {job_id}") == [], "the runner's end")
    return state()


def outcomes(stack, job_id):
    return stack.rows("SELECT outcome, error_code FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job_id)


def assert_undisturbed(stack, job_id, undisturbed):
    assert ended(stack, job_id) == "succeeded"
    with stack.queue() as queue:
        job = queue.job(job_id)
        assert job.history() == undisturbed["history"]
        assert job.result()["weights_sha256"] == undisturbed["weights"]
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def assert_survives(failing, undisturbed, point, action, expected):
    job_id = submit(failing, f"{point} {action}", spec())
    until(lambda: len(epochs(failing, job_id)) >= 2, "two epochs")
    arm(failing, point, action)
    reached(failing, point)

    assert_undisturbed(failing, job_id, undisturbed)
    assert outcomes(failing, job_id) == expected


@on_postgresql
@pytest.mark.parametrize(
    ("point", "action", "expected"),
    [
        (Point.AFTER_INSERT_BEFORE_COMMIT, "kill9", [DONE]),
        (Point.AFTER_COMMIT_BEFORE_REPLY, "kill9", [DONE]),
        (Point.AFTER_COMMIT_BEFORE_REPLY, "raise", [DONE]),
        (Point.AFTER_RECEIVE_BEFORE_CLAIM, "kill9", [DONE]),
        (Point.AFTER_CLAIM_BEFORE_START, "kill9", [LOST, DONE]),
        (Point.AFTER_CLAIM_BEFORE_START, "raise", [LOST, DONE]),
    ],
)
def test_a_process_that_fails_before_the_job_runs(failing, undisturbed, point, action, expected):
    arm(failing, point, action)
    job_id = submit(failing, f"{point} {action}", spec())
    reached(failing, point)

    assert_undisturbed(failing, job_id, undisturbed)
    assert outcomes(failing, job_id) == expected
    assert failing.rows("SELECT count(*) FROM jobs WHERE idempotency_key = :key", key=f"{point} {action}") == [(1,)]


@on_postgresql
@pytest.mark.parametrize(
    ("point", "action", "expected"),
    [
        (Point.IN_EPOCH_TX_BEFORE_COMMIT, "kill9", [LOST, DONE]),
        (Point.IN_EPOCH_TX_BEFORE_COMMIT, "raise", [DONE]),
        (Point.AFTER_COMMIT_LOST_REPLY, "kill9", [LOST, DONE]),
        (Point.AFTER_COMMIT_LOST_REPLY, "raise", [DONE]),
        (Point.AFTER_END_BEFORE_NEXT, "kill9", [DONE]),
    ],
)
def test_a_worker_that_fails_while_the_job_runs(failing, undisturbed, point, action, expected):
    assert_survives(failing, undisturbed, point, action, expected)


@on_sqlite
@pytest.mark.parametrize(
    ("point", "action", "expected"),
    [
        (Point.MID_CHECKPOINT_WRITE, "kill9", [CRASHED, DONE]),
        (Point.MID_CHECKPOINT_WRITE, "raise", [("failed", "internal"), DONE]),
        (Point.AFTER_RENAME_BEFORE_ROW, "kill9", [CRASHED, DONE]),
        (Point.AFTER_RENAME_BEFORE_ROW, "exit", [CRASHED, DONE]),
        (Point.AFTER_RESULT_BEFORE_EXIT, "kill9", [DONE]),
        (Point.AFTER_RESULT_BEFORE_EXIT, "sleep", [DONE]),
    ],
)
def test_a_runner_that_fails_while_the_job_runs(failing, undisturbed, point, action, expected):
    assert_survives(failing, undisturbed, point, action, expected)
