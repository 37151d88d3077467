"""The life of a job in SQL, on each database: what holds whoever comes late, twice, or at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from shared import attempts, db, events, jobs, listing, metrics, queues, spec, upkeep, wishes
from shared.clock import after
from shared.errors import Conflict, LeaseLost, NotFound
from shared.states import CancelMode, Failure, Kind, Lane, State
from shared.tables import attempts as tries_table
from shared.tables import jobs as table

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}


def submit(engine, **changes) -> str:
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse({**TINY, **changes})).job_id


def claim(engine, *, lane="cpu", worker="worker-1", memory=100_000, lease_s=30.0):
    with db.write(engine) as connection:
        return jobs.claim(connection, lane=lane, worker=worker, host="host", free_memory_mb=memory, lease_s=lease_s)


def get(engine, job_id):
    with db.read(engine) as connection:
        return listing.get(connection, job_id)


def write(engine, attempt, batch, action=lambda connection: None):
    with db.write(engine) as connection:
        fresh = jobs.fence(connection, attempt.job_id, attempt.number, batch=batch)
        if fresh:
            action(connection)
        return fresh


def fail(engine, attempt, batch=1, code=Failure.CRASHED):
    write(engine, attempt, batch, lambda c: jobs.fail(c, attempt.job_id, attempt.number, code, "It broke."))


def expire(engine):
    with db.write(engine) as connection:
        return upkeep.expire(connection)


def available(engine, job_id):
    """Let a backoff pass."""
    with db.write(engine) as connection:
        connection.execute(sa.update(table).where(table.c.id == job_id).values(available_at=table.c.created_at))


def succeed(connection, attempt):
    jobs.succeed(connection, attempt.job_id, attempt.number, value={}, weights_sha256=None, final_checkpoint=None)


def test_a_submitted_job_waits_in_its_lane(engine):
    job = get(engine, submit(engine, name="first", tags={"team": "vision"}))

    assert (job.state, job.kind, job.name, job.attempt) == (State.QUEUED, Kind.TRAIN, "first", 0)
    assert job.tags == {"team": "vision"}
    with db.read(engine) as connection:
        assert queues.waiting(connection, older_than_s=-60) == {"cpu": 1}


def test_a_claim_takes_the_lease_and_numbers_the_attempt(engine):
    job_id = submit(engine)
    attempt = claim(engine)

    assert (attempt.job_id, attempt.number) == (job_id, 1)
    assert get(engine, job_id).state == State.RUNNING
    assert claim(engine) is None


def test_of_many_claimers_each_job_has_one_winner(engine):
    ids = {submit(engine) for _ in range(20)}
    start = threading.Barrier(8)

    def claimer(number):
        start.wait()
        won = []
        while attempt := claim(engine, worker=f"worker-{number}"):
            won.append(attempt.job_id)
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [job_id for ids_won in pool.map(claimer, range(8)) for job_id in ids_won]

    # On PostgreSQL a claimer may find the best job locked and give up early: what it skipped still waits.
    while attempt := claim(engine):
        won.append(attempt.job_id)
    assert sorted(won) == sorted(ids)


def test_the_best_waiting_job_comes_first(engine):
    first, second, urgent = submit(engine), submit(engine), submit(engine, priority=1)

    assert [claim(engine).job_id for _ in range(3)] == [urgent, first, second]


def test_one_point_of_priority_is_worth_ten_minutes(engine):
    old = submit(engine)
    with db.write(engine) as connection:
        connection.execute(sa.update(table).values(rank=table.c.rank - 601))
    submit(engine, priority=1)

    assert claim(engine).job_id == old


def test_an_endless_stream_of_higher_priority_starves_nobody(engine):
    low = submit(engine)
    claimed = []
    for minute in range(0, 60, 2):
        # A job of priority 3 for each that is taken, and two minutes go by meanwhile.
        high = submit(engine, priority=3)
        with db.write(engine) as connection:
            connection.execute(sa.update(table).where(table.c.id == high).values(rank=table.c.rank + 60 * minute))
        claimed.append(claim(engine).job_id)

    assert claimed.index(low) == 15, "after half an hour: three points of priority"


def test_a_job_that_does_not_fit_the_free_memory_waits_and_blocks_nobody(engine):
    big = submit(engine, resources={"memory_mb": 4096}, priority=100)
    small = submit(engine, resources={"memory_mb": 512})

    assert claim(engine, memory=1000).job_id == small
    assert claim(engine, memory=1000) is None
    assert claim(engine, memory=5000).job_id == big


def test_a_lane_sees_only_its_own_jobs(engine):
    submit(engine, resources={"lane": "gpu"})

    assert claim(engine, lane="cpu") is None
    assert claim(engine, lane="gpu").lane == Lane.GPU


def test_a_renewal_keeps_the_lease_and_tells_of_a_cancel(engine):
    submit(engine)
    attempt = claim(engine, lease_s=0.5)
    key = (attempt.job_id, 1)
    with db.write(engine) as connection:
        assert jobs.renew(connection, [key], lease_s=30)[key].cancel is None
    assert expire(engine) == []

    with db.write(engine) as connection:
        wishes.cancel(connection, attempt.job_id, CancelMode.AFTER_EPOCH)
        assert jobs.renew(connection, [key], lease_s=30)[key].cancel == CancelMode.AFTER_EPOCH
    with db.read(engine) as connection:
        assert jobs.wished(connection, worker="worker-1")[key].cancel == CancelMode.AFTER_EPOCH


def test_an_expired_lease_goes_back_and_its_attempt_may_write_no_more(engine):
    job_id = submit(engine)
    stale = claim(engine, lease_s=-1)
    write(engine, stale, 1, lambda c: attempts.started(c, job_id, 1, {}))

    assert expire(engine) == [(job_id, "cpu")]
    assert expire(engine) == []
    fresh = claim(engine, worker="worker-2")

    assert fresh.number == 2
    for batch in (2, 3):
        with pytest.raises(LeaseLost):
            write(engine, stale, batch, lambda c: metrics.record(c, job_id, 1, 0, {"loss": 0.0}))
    with db.write(engine) as connection:
        assert jobs.renew(connection, [(job_id, 1)], lease_s=30) == {}
        assert metrics.history(connection, job_id) == {}
    tries = _tries(engine, job_id)
    assert [(one.outcome, one.error_code) for one in tries] == [("failed", "worker_lost"), (None, None)]


def test_an_attempt_whose_code_never_ran_counts_no_fault(engine):
    job_id = submit(engine, retries=0)
    claim(engine, lease_s=-1)
    expire(engine)

    job = get(engine, job_id)
    assert (job.state, job.failures) == (State.QUEUED, 0)


def test_while_a_machine_is_off_no_running_time_is_counted(engine):
    job_id = submit(engine)
    attempt = claim(engine)
    write(engine, attempt, 1, lambda c: attempts.started(c, job_id, 1, {}))
    with db.write(engine) as connection:
        hours_ago = connection.execute(sa.select(after(-36_000))).scalar_one()
        later = connection.execute(sa.select(after(-35_990))).scalar_one()
        connection.execute(sa.update(tries_table).values(started_at=hours_ago, running_at=hours_ago))
        connection.execute(sa.update(table).values(lease_until=later))
    expire(engine)

    assert get(engine, job_id).run_s == pytest.approx(10, abs=0.1)


def test_one_locked_job_keeps_no_other_lease_waiting(engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one lock for all")
    held = [(claim(engine).job_id, 1) for _ in range(3) if submit(engine)]
    with db.write(engine) as frozen:
        frozen.execute(sa.update(table).where(table.c.id == held[0][0]).values(name="frozen"))
        with db.write(engine) as connection:
            assert set(jobs.renew(connection, held, lease_s=60)) == set(held), "passed over, not lost"


def test_one_job_that_cannot_be_taken_back_does_not_stop_the_reaper(engine):
    broken, sound = submit(engine), submit(engine)
    for _ in range(2):
        claim(engine, lease_s=-1)
    with db.write(engine) as connection:
        connection.execute(sa.delete(tries_table).where(tries_table.c.job_id == broken))
    expire(engine)

    assert get(engine, sound).state == State.QUEUED
    assert get(engine, broken).state == State.QUEUED


def _tries(engine, job_id):
    with db.read(engine) as connection:
        return listing.tries(connection, job_id)


def test_a_batch_whose_answer_was_lost_is_written_once(engine):
    job_id = submit(engine)
    attempt = claim(engine)

    def say(connection):
        events.append(connection, job_id, [("epoch", {"epoch": 0})])

    assert write(engine, attempt, 1, say)
    assert not write(engine, attempt, 1, say)
    with db.read(engine) as connection:
        assert [event.type for event in events.page(connection, job_id)] == ["state", "state", "epoch"]


def test_the_end_whose_answer_was_lost_is_written_once(engine):
    submit(engine)
    attempt = claim(engine)

    assert write(engine, attempt, 1, lambda c: succeed(c, attempt))
    assert not write(engine, attempt, 1, lambda c: succeed(c, attempt))
    assert get(engine, attempt.job_id).state == State.SUCCEEDED


def test_a_second_result_is_impossible(engine):
    submit(engine)
    attempt = claim(engine)
    write(engine, attempt, 1, lambda c: succeed(c, attempt))

    with pytest.raises(IntegrityError), db.write(engine) as connection:
        succeed(connection, attempt)


def test_a_machines_fault_is_retried_at_once_then_with_backoff_then_no_more(engine):
    job_id = submit(engine, retries=2)

    fail(engine, claim(engine))
    fail(engine, claim(engine))
    assert get(engine, job_id).state == State.QUEUED
    assert claim(engine) is None, "the second retry waits"
    available(engine, job_id)
    fail(engine, claim(engine))

    job = get(engine, job_id)
    assert (job.state, job.error_code, job.error_message) == (State.FAILED, "crashed", "It broke.")


def test_a_new_checkpoint_begins_the_count_of_faults_anew(engine):
    job_id = submit(engine, retries=1)
    for step in range(1, 5):
        attempt = claim(engine)
        write(engine, attempt, 1, lambda c, step=step: attempts.progressed(c, job_id, step))
        fail(engine, attempt, batch=2)
    assert get(engine, job_id).state == State.QUEUED

    attempt = claim(engine)
    write(engine, attempt, 1, lambda c: attempts.progressed(c, job_id, 4))
    fail(engine, attempt, batch=2)
    assert get(engine, job_id).state == State.FAILED, "a checkpoint that was there before is no progress"


@pytest.mark.parametrize(
    "code",
    [
        Failure.BAD_SPEC,
        Failure.BAD_DATA,
        Failure.NAN_LOSS,
        Failure.TIMEOUT,
        Failure.OOM_HOST,
        Failure.OOM_GPU,
        Failure.DISK_LIMIT,
    ],
)
def test_the_users_faults_are_never_retried(engine, code):
    job_id = submit(engine)
    fail(engine, claim(engine), code=code)

    assert get(engine, job_id).state == State.FAILED


def test_an_orderly_release_uses_no_attempt_up(engine):
    job_id = submit(engine, retries=0)
    for _ in range(3):
        attempt = claim(engine)
        write(engine, attempt, 1, lambda c, a=attempt: jobs.release(c, a.job_id, a.number))

    job = get(engine, job_id)
    assert (job.state, job.failures, job.attempt) == (State.QUEUED, 0, 3)
    assert [one.outcome for one in _tries(engine, job_id)] == ["released"] * 3


def test_a_waiting_job_is_cancelled_at_once(engine):
    job_id = submit(engine)
    with db.write(engine) as connection:
        assert wishes.cancel(connection, job_id, CancelMode.AFTER_EPOCH) == State.CANCELLED

    assert claim(engine) is None
    assert get(engine, job_id).finished_at is not None


def test_a_running_job_is_cancelled_only_when_its_attempt_says_so(engine):
    job_id = submit(engine)
    attempt = claim(engine)
    with db.write(engine) as connection:
        assert wishes.cancel(connection, job_id, CancelMode.NOW) == State.RUNNING
        assert wishes.cancel(connection, job_id, CancelMode.AFTER_EPOCH) == State.RUNNING
    assert get(engine, job_id).cancel_mode == CancelMode.NOW, "the stronger wish stays"

    write(engine, attempt, 1, lambda c: jobs.cancelled(c, job_id, 1))
    assert get(engine, job_id).state == State.CANCELLED


def test_a_cancelled_job_whose_worker_dies_is_cancelled_and_not_queued(engine):
    job_id = submit(engine)
    claim(engine, lease_s=-1)
    with db.write(engine) as connection:
        wishes.cancel(connection, job_id, CancelMode.AFTER_EPOCH)
    expire(engine)

    assert get(engine, job_id).state == State.CANCELLED


def test_what_has_ended_cannot_be_cancelled_and_only_failures_are_retried(engine):
    done = submit(engine)
    attempt = claim(engine)
    write(engine, attempt, 1, lambda c: succeed(c, attempt))

    for ask in (lambda c: wishes.cancel(c, done, CancelMode.NOW), lambda c: wishes.retry(c, done)):
        with pytest.raises(Conflict), db.write(engine) as connection:
            ask(connection)
    with pytest.raises(NotFound), db.write(engine) as connection:
        wishes.retry(connection, "job_nowhere")


def test_a_job_whose_end_was_asked_for_is_cancelled_by_its_last_fault_too(engine):
    with db.write(engine) as connection:
        job = jobs.submit(connection, spec.parse({**TINY, "retries": 0})).job_id
    attempt = claim(engine)
    with db.write(engine) as connection:
        wishes.cancel(connection, job, CancelMode.NOW)
    fail(engine, attempt)
    assert get(engine, job).state == State.CANCELLED


def test_retry_queues_a_failed_job_again_with_its_history(engine):
    job_id = submit(engine, retries=0)
    attempt = claim(engine)
    write(engine, attempt, 1, lambda c: metrics.record(c, job_id, 1, 0, {"loss": 1.0}))
    fail(engine, attempt, batch=2)
    with db.write(engine) as connection:
        assert wishes.retry(connection, job_id) == Lane.CPU

    again = claim(engine)
    assert again.number == 2
    with db.read(engine) as connection:
        assert metrics.history(connection, job_id) == {"loss": [1.0]}


def test_events_are_numbered_without_gaps_by_concurrent_writers(engine):
    job_id = submit(engine)
    claim(engine)

    def say(number):
        with db.write(engine) as connection:
            connection.execute(sa.update(table).where(table.c.id == job_id).values(version=table.c.version + 1))
            events.append(connection, job_id, [("epoch", {"epoch": number}), ("checkpoint", {"epoch": number})])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, range(20)))
    with db.read(engine) as connection:
        assert [event.seq for event in events.page(connection, job_id, limit=1000)] == list(range(1, 43))


def test_what_is_not_finite_is_kept_as_a_fact(engine):
    job_id = submit(engine)
    claim(engine)
    values = {"loss": float("nan"), "up": float("inf"), "down": float("-inf"), "acc": 0.5}
    with db.write(engine) as connection:
        metrics.record(connection, job_id, 1, 0, values)
        metrics.record(connection, job_id, 1, 0, values)
        found = {one.name: (one.value, one.value_kind.value) for one in metrics.page(connection, job_id)}
        history = metrics.history(connection, job_id)

    assert found == {"loss": (None, "nan"), "up": (None, "+inf"), "down": (None, "-inf"), "acc": (0.5, "finite")}
    assert history["up"] == [float("inf")]
    assert history["loss"][0] != history["loss"][0]


def test_the_same_key_brings_the_same_job_and_another_body_is_refused(engine):
    parsed = spec.parse(TINY)
    with db.write(engine) as connection:
        first = jobs.submit(connection, parsed, idempotency_key="k", fingerprint="a")
        again = jobs.submit(connection, parsed, idempotency_key="k", fingerprint="a")
        with pytest.raises(jobs.KeyReused):
            jobs.submit(connection, parsed, idempotency_key="k", fingerprint="b")

    assert (again.job_id, again.replayed, first.replayed) == (first.job_id, True, False)


def test_a_job_says_why_it_waits(engine):
    first, second = submit(engine), submit(engine)
    with db.read(engine) as connection:
        waiting = listing.waiting(connection, listing.get(connection, second), lease_s=30)

    assert waiting.position == 1
    assert waiting.reason == "No worker serves lane 'cpu'. Start one, or submit to another lane."
    with db.read(engine) as connection:
        assert listing.waiting(connection, listing.get(connection, first), lease_s=30).position == 0
