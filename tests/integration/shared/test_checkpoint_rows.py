"""Which checkpoints stay, which is best, and what another job was pinned to."""

import threading
import time

import pytest

from shared import attempts, checkpoints, db, jobs, lineage, spec
from shared.checkpoints import Retention
from shared.errors import BadSpec, Conflict

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}, "scale": 0.5},
    "compile": {"loss": "mse"},
}


@pytest.fixture
def job(engine):
    """A running train job."""
    with db.write(engine) as connection:
        jobs.submit(connection, spec.parse(TINY))
        claimed = jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=30)
        return claimed.job_id


def save(connection, job_id, epoch, value, *, keep, greater=False, attempt=1, changes=None, **others):
    """Record the checkpoint after an epoch, from 0; `changes` and `others` make it another."""
    row = {
        "name": f"epoch-{epoch}",
        "epoch": epoch + 1,
        "step": (epoch + 1) * 10,
        "path": f"jobs/{job_id}/{attempt}/checkpoints/epoch-{epoch}.npz",
        "bytes": 10,
        "sha256": f"{epoch:064d}",
        "weights_sha256": "0" * 64,
        "monitor": "loss",
        "value": value,
        **others,
        **(changes or {}),
    }
    return checkpoints.record(connection, job_id, attempt, row, greater=greater, keep=keep)


def save_within(connection, job_id, epoch, step, *, keep):
    """Save after so many steps, with so many epochs complete."""
    within = {"name": f"step-{step}", "step": step, "sha256": f"f{step:063d}"}
    save(connection, job_id, epoch - 1, None, keep=keep, **within)


def names(connection, job_id):
    return [one.name for one in checkpoints.listed(connection, job_id)]


def test_the_best_and_the_last_ones_stay(engine, job):
    keep = Retention(keep_best=1, keep_last=2)
    with db.write(engine) as connection:
        gone = [save(connection, job, epoch, value, keep=keep) for epoch, value in enumerate([3.0, 1.0, 2.0, 4.0, 5.0])]

        assert names(connection, job) == ["epoch-4", "epoch-3", "epoch-1"]
        assert checkpoints.find(connection, job, "best").name == "epoch-1"
        assert checkpoints.find(connection, job, "last").name == "epoch-4"
        assert checkpoints.find(connection, job, 3).name == "epoch-3"
        assert checkpoints.find(connection, job, 0) is None
    assert [path.rsplit("/", 1)[1] for paths in gone for path in paths] == ["epoch-0.npz", "epoch-2.npz"]


def test_a_greater_value_is_better_where_it_is_said_and_the_earlier_wins_a_tie(engine, job):
    keep = Retention(keep_best=1, keep_last=1)
    with db.write(engine) as connection:
        for epoch, value in enumerate([0.1, 0.9, 0.9, 0.2]):
            save(connection, job, epoch, value, keep=keep, greater=True)
        assert checkpoints.find(connection, job, "best").name == "epoch-1"


def test_of_two_at_one_step_the_one_of_the_whole_epoch_is_newer(engine, job):
    """A shutdown in the last epoch's validation leaves the first, the attempt that goes on from there the second."""
    with db.write(engine) as connection:
        save(connection, job, 2, 1.0, keep=Retention())
        save(connection, job, 4, None, keep=Retention(), attempt=1, changes={"name": "step-50", "epoch": 4})
        save(connection, job, 4, 2.0, keep=Retention(), attempt=2)
        checkpoints.fit(connection, job, 10)
        assert names(connection, job) == ["epoch-4"]
        save(connection, job, 4, None, keep=Retention(), attempt=2, changes={"name": "final"})
        assert names(connection, job) == ["final", "epoch-4"]


def test_what_is_not_finite_is_never_best(engine, job):
    with db.write(engine) as connection:
        save(connection, job, 0, float("nan"), keep=Retention())
        assert checkpoints.find(connection, job, "best") is None
        save(connection, job, 1, 7.0, keep=Retention())
        assert checkpoints.find(connection, job, "best").name == "epoch-1"


def test_an_attempt_that_goes_on_from_earlier_makes_the_later_ones_void(engine, job):
    with db.write(engine) as connection:
        for epoch in range(3):
            save(connection, job, epoch, float(epoch), keep=Retention(keep_last=9))
        gone = checkpoints.delete_after(connection, job, 10)

        assert names(connection, job) == ["epoch-0"]
    assert len(gone) == 2


def test_a_checkpoint_written_again_replaces_its_row_and_frees_the_old_file(engine, job):
    with db.write(engine) as connection:
        save(connection, job, 0, 1.0, keep=Retention())
        stale = save(connection, job, 0, 1.0, keep=Retention(), attempt=2)

        assert stale == [f"jobs/{job}/1/checkpoints/epoch-0.npz"]
        assert [one.attempt for one in checkpoints.listed(connection, job)] == [2]


def test_a_job_is_pinned_to_the_checkpoint_that_it_was_submitted_with(engine, job):
    keep = Retention(keep_best=0, keep_last=1)
    with db.write(engine) as connection:
        save(connection, job, 0, 1.0, keep=keep)
        asks = spec.parse(
            {"kind": "predict", "model": {"job": job, "checkpoint": 0}, "data": {"input": {"x": [[1, 2]]}}}
        )
        source = lineage.resolve(connection, asks)
        jobs.submit(connection, asks)
        save(connection, job, 1, 0.5, keep=keep)

        assert names(connection, job) == ["epoch-1", "epoch-0"], "a waiting job needs it"
    assert (source.checkpoint, source.scale, source.model) == ("epoch-0", 0.5, TINY["model"])


def test_a_job_has_the_names_of_classes_that_its_source_found(engine, job):
    found = {"class_names": ["cat", "dog"], "metrics": {}, "value_kinds": {}}
    asks = spec.parse({"kind": "predict", "model": {"job": job}, "data": {"input": {"x": [[1, 2]]}}})
    with db.write(engine) as connection:
        save(connection, job, 0, 1.0, keep=Retention(keep_best=0, keep_last=1))
        jobs.succeed(connection, job, 1, value=found, weights_sha256="0" * 64, final_checkpoint="epoch-0")
        submitted = jobs.submit(connection, asks)
        claimed = jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=30)
    assert claimed.job_id == submitted.job_id
    assert claimed.source["class_names"] == ["cat", "dog"]


def pin(engine, job, epoch):
    """Submit a job that needs a checkpoint; return it as it was pinned."""
    model = {"job": job, "checkpoint": epoch}
    asks = spec.parse({"kind": "predict", "model": model, "data": {"input": {"x": [[1, 2]]}}})
    with db.write(engine) as connection:
        source = lineage.resolve(connection, asks)
        jobs.submit(connection, asks)
    return source


def test_a_pinned_file_stays_when_its_row_is_replaced_or_void(engine, job):
    with db.write(engine) as connection:
        save(connection, job, 0, 1.0, keep=Retention())
        save(connection, job, 1, 1.0, keep=Retention())
    for epoch in (0, 1):
        pin(engine, job, epoch)

    with db.write(engine) as connection:
        row = {"sha256": "f" * 64}
        assert save(connection, job, 0, 1.0, keep=Retention(), attempt=2, **row) == []
        assert checkpoints.delete_after(connection, job, 10) == []


def test_a_submit_and_a_retention_at_once_leave_the_pinned_checkpoint(engine, job):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with db.write(engine) as connection:
        save(connection, job, 0, 1.0, keep=Retention(keep_best=0, keep_last=1))
    gone = []

    def retain():
        with db.write(engine) as connection:
            jobs.fence(connection, job, 1, batch=1)
            gone.extend(save(connection, job, 1, 0.5, keep=Retention(keep_best=0, keep_last=1)))

    model = {"job": job, "checkpoint": 0}
    asks = spec.parse({"kind": "predict", "model": model, "data": {"input": {"x": [[1, 2]]}}})
    with db.write(engine) as connection:
        lineage.resolve(connection, asks)
        other = threading.Thread(target=retain)
        other.start()
        time.sleep(0.3)
        jobs.submit(connection, asks)
    other.join()

    assert gone == []


def test_the_final_checkpoint_takes_no_place_of_the_last_ones(engine, job):
    keep = Retention(keep_best=0, keep_last=1)
    with db.write(engine) as connection:
        for epoch in range(3):
            save(connection, job, epoch, 1.0, keep=keep)
        save(connection, job, 2, None, keep=keep, name="final")

        assert names(connection, job) == ["final", "epoch-2"]
        assert checkpoints.find(connection, job, "last").name == "epoch-2"


def test_the_newest_within_an_epoch_does_not_go_before_the_next_two(engine, job):
    keep = Retention(keep_best=0, keep_last=2)
    with db.write(engine) as connection:
        told = []
        for step in (3, 6, 10):
            save_within(connection, job, 0, step, keep=keep)
            told.append(names(connection, job))
        # The last one was written before validation: as many steps, an epoch less.
        for epoch in range(2):
            save(connection, job, epoch, 1.0, keep=keep)
            told.append(names(connection, job))
        assert checkpoints.listed(connection, job)[0].name == "epoch-1"

    assert told == [
        ["step-3"],
        ["step-6", "step-3"],
        ["step-10", "step-6"],
        ["epoch-0", "step-10"],
        ["epoch-1", "epoch-0"],
    ]


def test_who_keeps_one_has_two_within_an_epoch_only(engine, job):
    keep = Retention(keep_best=0, keep_last=1)
    with db.write(engine) as connection:
        for step in (3, 6):
            save_within(connection, job, 0, step, keep=keep)
        assert names(connection, job) == ["step-6", "step-3"]
        save(connection, job, 0, 1.0, keep=keep)
        assert names(connection, job) == ["epoch-0"]
        for step in (13, 16):
            save_within(connection, job, 1, step, keep=keep)
        assert names(connection, job) == ["step-16", "step-13", "epoch-0"]


def test_an_unfinished_or_unknown_source_is_refused(engine, job):
    def ask(**model):
        return spec.parse({"kind": "predict", "model": model, "data": {"input": {"x": [[1, 2]]}}})

    with db.read(engine) as connection:
        with pytest.raises(Conflict, match="is running"):
            lineage.resolve(connection, ask(job=job))
        with pytest.raises(BadSpec, match="no checkpoint"):
            lineage.resolve(connection, ask(job=job, checkpoint=7))
        with pytest.raises(BadSpec, match="no train job"):
            lineage.resolve(connection, ask(job="job_01a208ca-8c93-76a9-9cbb-a82d22ef568f"))


def test_within_its_bytes_a_job_keeps_its_best_and_its_newest_longest(engine, job):
    keep = Retention(keep_best=1, keep_last=9)
    with db.write(engine) as connection:
        for epoch, value in enumerate([3.0, 1.0, 2.0, 4.0, 5.0]):
            save(connection, job, epoch, value, keep=keep)

        gone, least = checkpoints.fit(connection, job, 30)
        assert ([path.rsplit("/", 1)[1] for path in gone], least) == (["epoch-0.npz", "epoch-2.npz"], 10)
        assert names(connection, job) == ["epoch-4", "epoch-3", "epoch-1"]
        checkpoints.fit(connection, job, 20)
        assert names(connection, job) == ["epoch-4", "epoch-1"]
        assert checkpoints.find(connection, job, "best").name == "epoch-1"
        gone, least = checkpoints.fit(connection, job, 1)
        assert (names(connection, job), least) == (["epoch-4"], 10), "the newest stays whatever the limit is"


def test_artifacts_count_and_pins_are_nobodys_fault(engine, job):
    with db.write(engine) as connection:
        for epoch in range(3):
            save(connection, job, epoch, 1.0, keep=Retention(keep_best=0, keep_last=9))
        row = {"content_type": "text/csv", "path": "p", "bytes": 25, "sha256": "1" * 64}
        attempts.add_artifact(connection, job, 1, name="log.csv", **row)
    pin(engine, job, 0)
    with db.write(engine) as connection:
        gone, least = checkpoints.fit(connection, job, 40)

        assert names(connection, job) == ["epoch-2", "epoch-0"], "a waiting job needs it"
        assert (len(gone), least) == (1, 35)


def test_of_an_ended_job_final_newest_best_and_pinned_checkpoints_are_worth_keeping(engine, job):
    with db.write(engine) as connection:
        for epoch, value in enumerate([3.0, 1.0, 2.0, 4.0, 5.0]):
            save(connection, job, epoch, value, keep=Retention(keep_last=9))
        save(connection, job, 4, None, keep=Retention(keep_last=9), name="final", sha256="f" * 64)
    pin(engine, job, 2)
    with db.write(engine) as connection:
        jobs.fence(connection, job, 1, batch=1)
        jobs.succeed(connection, job, 1, value={}, weights_sha256=None, final_checkpoint="final")
        gone = checkpoints.thin(connection, job)

        assert sorted(names(connection, job)) == ["epoch-1", "epoch-2", "epoch-4", "final"]
    assert len(gone) == 2
