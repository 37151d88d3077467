"""The life of jobs under random interleavings, on each database, against a model of its rules.

Every claim ever made stays in play: a holder whose lease was taken away goes on trying to write, as a frozen process
does that wakes up. Time passes by hand: a lease or a backoff is over when a rule says so.
"""

from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared import attempts, checkpoints, db, jobs, metrics, spec, tables, upkeep, wishes
from shared.checkpoints import Retention
from shared.errors import Conflict, LeaseLost
from shared.states import RETRYABLE, TERMINAL, CancelMode, Failure, State

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}
KEEP = Retention(keep_best=1, keep_last=1)


@dataclass
class Model:
    """What must be true of one job."""

    retries: int
    state: State = State.QUEUED
    attempt: int = 0
    failures: int = 0
    furthest: int = 0
    cancel: CancelMode | None = None
    waits: bool = False
    held: bool = False
    saves: int = 0
    deleted: bool = False
    started: bool = False
    outcomes: list = field(default_factory=list)
    epochs: dict = field(default_factory=dict)

    @property
    def claimable(self):
        return not self.waits and not self.held


@dataclass
class Holder:
    """One claimed attempt, and the number of its last batch; it may have lost its lease long ago."""

    job: str
    number: int
    batch: int = 0
    epoch: int = 0


class Life(RuleBasedStateMachine):
    engine: sa.Engine
    holders = Bundle("holders")
    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        with db.write(self.engine) as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        self.model: dict[str, Model] = {}
        self.keys: dict[str, str] = {}

    # --- from outside ---

    @rule(target=ids, priority=st.integers(-2, 2), retries=st.integers(0, 2), key=st.sampled_from(["", "a", "b"]))
    def submit(self, priority, retries, key):
        asked = spec.parse({**TINY, "priority": priority, "retries": retries})
        known = self.keys.get(key)
        body = f"{priority} {retries}"
        if known and known[1] != body:
            with pytest.raises(jobs.KeyReused):
                jobs.submit_once(self.engine, asked, idempotency_key=key, fingerprint=body)
            return known[0]
        told = jobs.submit_once(self.engine, asked, idempotency_key=key or None, fingerprint=body)
        assert told.replayed == bool(known)
        if known:
            assert told.job_id == known[0]
        else:
            self.model[told.job_id] = Model(retries)
        if key:
            self.keys[key] = (told.job_id, body)
        return told.job_id

    @rule(job=ids, mode=st.sampled_from(CancelMode))
    def cancel(self, job, mode):
        model = self.model[job]
        if model.state in {State.SUCCEEDED, State.FAILED}:
            with pytest.raises(Conflict), db.write(self.engine) as connection:
                wishes.cancel(connection, job, mode)
            return
        with db.write(self.engine) as connection:
            wishes.cancel(connection, job, mode)
        if model.state == State.CANCELLED:
            return
        if model.state == State.QUEUED:
            model.state, model.held = State.CANCELLED, False
        if model.cancel != CancelMode.NOW:
            model.cancel = mode

    def _ask(self, wish, job, *, allowed):
        """Ask for something; return whether it was granted, as it must be when it is allowed."""
        if not allowed:
            with pytest.raises(Conflict), db.write(self.engine) as connection:
                wish(connection, job)
            return False
        with db.write(self.engine) as connection:
            wish(connection, job)
        return True

    @rule(job=ids)
    def pause(self, job):
        model = self.model[job]
        if self._ask(wishes.pause, job, allowed=model.state not in TERMINAL):
            model.held = True

    @rule(job=ids)
    def go_on(self, job):
        model = self.model[job]
        if self._ask(wishes.go_on, job, allowed=model.held):
            model.held = False

    @rule(job=ids)
    def save(self, job):
        model = self.model[job]
        if self._ask(wishes.save, job, allowed=model.state == State.RUNNING):
            model.saves += 1

    @rule(job=ids)
    def delete(self, job):
        model = self.model[job]
        if self._ask(wishes.delete, job, allowed=model.state in TERMINAL):
            model.deleted = True

    @rule(job=ids)
    def retry(self, job):
        model = self.model[job]
        if model.deleted or model.state not in {State.FAILED, State.CANCELLED}:
            with pytest.raises(Conflict), db.write(self.engine) as connection:
                wishes.retry(connection, job)
            return
        with db.write(self.engine) as connection:
            wishes.retry(connection, job)
        model.state, model.failures, model.cancel, model.waits = State.QUEUED, 0, None, False

    # --- workers ---

    @rule(target=holders)
    def claim(self):
        rows = self._rows("SELECT id FROM jobs WHERE state = 'queued' ORDER BY rank, id")
        expected = next((row[0] for row in rows if self.model[row[0]].claimable), None)
        with db.write(self.engine) as connection:
            taken = jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=100_000, lease_s=600)
        assert (taken.job_id if taken else None) == expected
        if taken is None:
            return multiple()
        model = self.model[taken.job_id]
        model.state, model.attempt, model.started = State.RUNNING, model.attempt + 1, False
        assert taken.number == model.attempt
        model.outcomes.append(None)
        return Holder(taken.job_id, taken.number)

    def _owns(self, holder):
        model = self.model[holder.job]
        return model.state == State.RUNNING and model.attempt == holder.number

    def _write(self, holder, action):
        """Write as `holder`, twice, as when the first commit's reply was lost; return whether it counted."""
        holder.batch += 1
        owned = self._owns(holder)
        for fresh in (True, False):
            try:
                with db.write(self.engine) as connection:
                    written = jobs.fence(connection, holder.job, holder.number, batch=holder.batch)
                    assert written == fresh
                    if written:
                        action(connection)
            except LeaseLost:
                assert not owned
                return False
            assert owned
        return True

    @rule(holder=holders)
    def start(self, holder):
        if self._write(holder, lambda c: attempts.started(c, holder.job, holder.number, {"plan": "step"})):
            self.model[holder.job].started = True

    @rule(holder=holders, value=st.floats(allow_nan=False, allow_infinity=False, width=32))
    def report_an_epoch_and_its_checkpoint(self, holder, value):
        job, number, epoch = holder.job, holder.number, holder.epoch
        name = f"epoch-{epoch}"
        row = {
            "name": name,
            "epoch": epoch + 1,
            "step": epoch + 1,
            "path": f"jobs/{job}/{number}/checkpoints/{name}.npz",
            "bytes": 1,
            "sha256": f"{number}-{epoch}",
            "weights_sha256": "0",
            "monitor": "loss",
            "value": value,
        }

        def action(connection):
            metrics.record(connection, job, number, epoch, {"loss": value})
            checkpoints.record(connection, job, number, row, greater=False, keep=KEEP)
            attempts.progressed(connection, job, epoch + 1)

        if self._write(holder, action):
            holder.epoch += 1
            model = self.model[job]
            model.epochs[epoch] = value
            if epoch + 1 > model.furthest:
                model.furthest, model.failures = epoch + 1, 0

    @rule(held=st.lists(holders, max_size=4))
    def renew(self, held):
        asked = [(one.job, one.number) for one in held]
        with db.write(self.engine) as connection:
            told = jobs.renew(connection, asked, lease_s=600)
        assert set(told) == {key for key, one in zip(asked, held, strict=True) if self._owns(one)}
        for (job, _), lease in told.items():
            model = self.model[job]
            assert lease == jobs.Wishes(model.cancel, model.held, model.saves)

    @rule(holder=consumes(holders), how=st.sampled_from(["succeed", "cancelled", "release", *Failure]))
    def end(self, holder, how):
        job, number = holder.job, holder.number
        ending = {
            "succeed": lambda c: jobs.succeed(c, job, number, value={}, weights_sha256=None, final_checkpoint=None),
            "cancelled": lambda c: jobs.cancelled(c, job, number),
            "release": lambda c: jobs.release(c, job, number),
        }.get(how, lambda c: jobs.fail(c, job, number, Failure(how), "It broke."))
        if not self._write(holder, ending):
            return
        model = self.model[job]
        if how == "succeed":
            self._ended(model, State.SUCCEEDED, "succeeded")
        elif how == "cancelled":
            self._ended(model, State.CANCELLED, "cancelled")
        elif how == "release":
            self._back(model, "released")
        else:
            self._failed(model, Failure(how))

    # --- time, and the reaper ---

    @rule(holder=holders)
    def a_lease_expires(self, holder):
        job = holder.job
        model = self.model[job]
        if model.state != State.RUNNING:
            return
        self._run("UPDATE jobs SET lease_until = created_at WHERE id = :id", id=job)
        with db.write(self.engine) as connection:
            assert [taken for taken, _ in upkeep.expire(connection)] == [job]
        if model.started:
            self._failed(model, Failure.WORKER_LOST)
        else:
            self._back(model, "failed")

    @rule(job=ids)
    def a_backoff_passes(self, job):
        self._run("UPDATE jobs SET available_at = created_at WHERE id = :id", id=job)
        self.model[job].waits = False

    def _failed(self, model, code):
        model.failures += 1
        if code in RETRYABLE and (model.failures <= model.retries or model.cancel is not None):
            model.waits = model.failures > 1
            self._back(model, "failed")
        else:
            self._ended(model, State.FAILED, "failed")

    def _back(self, model, outcome):
        if model.cancel is not None:
            self._ended(model, State.CANCELLED, outcome)
            return
        model.state = State.QUEUED
        model.outcomes[-1] = outcome

    def _ended(self, model, state, outcome):
        model.state, model.held = state, False
        model.outcomes[-1] = outcome

    # --- what always holds ---

    def _rows(self, query, **values):
        with db.read(self.engine) as connection:
            return connection.execute(sa.text(query), values).all()

    def _run(self, statement, **values):
        with db.write(self.engine) as connection:
            connection.execute(sa.text(statement), values)

    @invariant()
    def the_rows_say_what_the_model_says(self):
        found = self._rows("SELECT id, state, attempt, failures, cancel_mode, held, lease_until FROM jobs")
        assert {row.id: (row.state, row.attempt, row.failures, row.cancel_mode, bool(row.held)) for row in found} == {
            job: (one.state, one.attempt, one.failures, one.cancel, one.held) for job, one in self.model.items()
        }
        for row in found:
            assert (row.lease_until is not None) == (row.state == State.RUNNING)

    @invariant()
    def every_attempt_has_one_row_and_one_end(self):
        told = {job: [] for job in self.model}
        for row in self._rows("SELECT job_id, attempt, outcome FROM attempts ORDER BY job_id, attempt"):
            told[row.job_id].append(row.outcome)
            assert row.attempt == len(told[row.job_id])
        assert told == {job: one.outcomes for job, one in self.model.items()}

    @invariant()
    def there_is_one_result_for_each_success_and_none_else(self):
        succeeded = {job for job, one in self.model.items() if one.state == State.SUCCEEDED}
        rows = self._rows("SELECT job_id, attempt FROM results")
        assert {(row.job_id, row.attempt) for row in rows} == {(job, self.model[job].attempt) for job in succeeded}

    @invariant()
    def each_epoch_stands_once_with_its_last_value(self):
        told = {job: {} for job in self.model}
        for row in self._rows("SELECT job_id, epoch, value FROM epoch_metrics"):
            assert row.epoch not in told[row.job_id]
            told[row.job_id][row.epoch] = row.value
        assert told == {job: one.epochs for job, one in self.model.items()}

    @invariant()
    def the_newest_checkpoint_is_there(self):
        for job, one in self.model.items():
            with db.read(self.engine) as connection:
                saved = checkpoints.listed(connection, job)
            assert len(saved) <= KEEP.keep_best + KEEP.keep_last
            if one.deleted:
                assert saved == []
                continue
            assert (saved[0].epoch if saved else 0) == (max(one.epochs) + 1 if one.epochs else 0)

    @invariant()
    def events_have_no_gaps_and_end_with_the_state(self):
        told = {job: [] for job in self.model}
        for row in self._rows("SELECT job_id, seq FROM job_events ORDER BY job_id, seq"):
            told[row.job_id].append(row.seq)
        for numbers in told.values():
            assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.timeout(600)
def test_random_interleavings_follow_the_rules(engine):
    """A hundred stories of thirty steps each."""
    Told = type("Told", (Life,), {"engine": engine})  # noqa: N806 - a class
    run_state_machine_as_test(
        Told,
        settings=settings(
            max_examples=60 if engine.dialect.name == "sqlite" else 40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
