"""An interrupted job ends with the bits of an undisturbed one."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from shared import checkpoints, db, jobs
from shared.checkpoints import Retention
from shared.errors import BadData
from shared.spec import parse
from worker.wire import Checkpointed, Finished, Resumable

CALLBACKS = [
    {"EarlyStopping": {"monitor": "val_loss", "patience": 2, "restore_best_weights": True, "min_delta": 0.001}},
    {"ReduceLROnPlateau": {"monitor": "val_loss", "factor": 0.5, "patience": 1, "min_delta": 0.2}},
]
#: A job asks whether to stop before each of an epoch's 5 steps, before each of 2 validation steps, at its end.
ASKS = 8
#: What makes other images of the same ones, and noise, each by a random generator of its own.
AUGMENTED = [
    {"Reshape": {"target_shape": [8, 8, 1]}},
    {"RandomFlip": {}},
    {"RandomRotation": {"factor": 0.1}},
    {"RandomZoom": {"height_factor": 0.1}},
    {"RandomContrast": {"factor": 0.2}},
    {"GaussianNoise": {"stddev": 0.1}},
    {"Flatten": {}},
    {"Dense": {"units": 16, "activation": "relu"}},
    {"Dropout": {"rate": 0.3}},
    {"Dense": {"units": 10}},
]


@pytest.fixture(scope="module")
def eventful(train):
    """A job of 8 epochs that ends after the fourth: the learning rate falls after the third, the second is the best."""
    return train(callbacks=CALLBACKS, compile={"optimizer": {"Adam": {"learning_rate": 0.07}}}, fit={"epochs": 8})


@pytest.fixture(scope="module")
def undisturbed(eventful, benches):
    return benches().finish(eventful)


def same(undisturbed, interrupted, epochs):
    ended, report = undisturbed
    again, _ = interrupted
    assert again.weights_sha256 == ended.weights_sha256
    assert again.value == ended.value
    assert again.final_checkpoint == ended.final_checkpoint
    assert epochs == report.epochs


@pytest.mark.parametrize("asks", [1, 5, 6, 7, ASKS + 2, 2 * ASKS + 7, 3 * ASKS + 6])
def test_released_anywhere_a_job_goes_on_to_the_same_bits(bench, recorder, resumable, eventful, undisturbed, asks):
    first = recorder(stop_at=asks)
    stopped = bench.stop(eventful, first, attempt=2)
    saved = list(first.checkpoints.values())
    second = bench.finish(eventful, attempt=3, checkpoints=resumable(*saved))
    assert stopped.mode == "release"
    assert (second[1].resumed.epoch, second[1].resumed.step) == (saved[-1].epoch, saved[-1].step)
    kept = {epoch: row for epoch, row in first.epochs.items() if epoch < second[1].resumed.epoch}
    same(undisturbed, second, kept | second[1].epochs)


def test_the_eventful_job_is_eventful(undisturbed):
    ended, report = undisturbed
    assert [row["learning_rate"] for row in report.epochs.values()] == pytest.approx([0.07, 0.07, 0.07, 0.035])
    assert list(report.checkpoints) == ["epoch-0", "epoch-1", "epoch-2", "epoch-3", "final"]
    assert ended.weights_sha256 == report.checkpoints["epoch-1"].weights_sha256


def test_killed_after_any_checkpoint_a_job_goes_on_to_the_same_bits(benches, resumable, eventful):
    bench = benches()
    undisturbed = bench.finish(eventful)
    saved = list(undisturbed[1].checkpoints.values())
    for count in range(1, len(saved) + 1):
        again = bench.finish(eventful, attempt=1 + count, checkpoints=resumable(*saved[:count]))
        kept = {epoch: row for epoch, row in undisturbed[1].epochs.items() if epoch < again[1].resumed.epoch}
        assert again[1].resumed.epoch == saved[count - 1].epoch
        same(undisturbed, again, kept | again[1].epochs)


@pytest.mark.parametrize("steps", [3, 7])
def test_epochs_that_are_no_whole_pass_go_on_where_the_last_stopped(bench, recorder, resumable, train, steps):
    spec = train(fit={"epochs": 3, "steps_per_epoch": steps}, callbacks=CALLBACKS)
    undisturbed = bench.finish(spec)
    first = recorder(stop_at=steps + 3 + 2)
    bench.stop(spec, first, attempt=2)
    second = bench.finish(spec, attempt=3, checkpoints=resumable(*first.checkpoints.values()))
    assert list(first.checkpoints)[-1] == f"step-{steps + 2}"
    assert undisturbed[0].value["steps"] == 3 * steps
    same(undisturbed, second, {0: first.epochs[0]} | second[1].epochs)


def test_a_second_interruption_changes_nothing_either(bench, recorder, resumable, train):
    spec = train(fit={"epochs": 2})
    undisturbed = bench.finish(spec)
    first, second = recorder(stop_at=2), recorder(stop_at=2)
    bench.stop(spec, first, attempt=2)
    bench.stop(spec, second, attempt=3, checkpoints=resumable(*first.checkpoints.values()))
    third = bench.finish(spec, attempt=4, checkpoints=resumable(*second.checkpoints.values()))
    assert list(second.checkpoints) == ["step-4"]
    same(undisturbed, third, third[1].epochs)


@pytest.mark.parametrize("asks", [3, 6, ASKS + 2, 2 * ASKS + 2])
def test_augmented_images_are_the_same_ones_after_an_interruption(bench, recorder, resumable, train, asks):
    spec = train(model={"layers": AUGMENTED}, fit={"epochs": 3})
    undisturbed = bench.finish(spec)
    first = recorder(stop_at=asks)
    bench.stop(spec, first, attempt=2)
    saved = list(first.checkpoints.values())
    second = bench.finish(spec, attempt=3, checkpoints=resumable(*saved))
    assert (second[1].resumed.epoch, second[1].resumed.step) == (saved[-1].epoch, saved[-1].step)
    kept = {epoch: row for epoch, row in first.epochs.items() if epoch < second[1].resumed.epoch}
    same(undisturbed, second, kept | second[1].epochs)


def test_a_release_before_anything_was_done_writes_no_checkpoint(bench, recorder, train):
    report = recorder(stop_at=0)
    assert bench.stop(train(), report).mode == "release"
    assert report.checkpoints == {}


def test_after_epoch_finishes_the_epoch_and_keeps_its_checkpoint(bench, recorder, train):
    report = recorder(stop_at=2, mode="after_epoch")
    assert bench.stop(train(checkpoint={"every_epochs": 3}), report).mode == "after_epoch"
    assert list(report.epochs) == [0]
    assert list(report.checkpoints) == ["epoch-0"]
    assert "val_loss" in report.epochs[0]


def test_a_stop_during_the_last_epoch_comes_too_late(bench, recorder, train):
    ended, _ = bench.run(train(fit={"epochs": 1}), recorder(stop_at=5, mode="after_epoch"))
    assert isinstance(ended, Finished)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if how == "truncated" else content)
    if how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "truncated", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(bench, resumable, train, how):
    spec = train(fit={"epochs": 2})
    undisturbed = bench.finish(spec)
    saved = list(undisturbed[1].checkpoints.values())[:2]
    damage(bench.volume / saved[-1].file.path, how)
    again = bench.finish(spec, attempt=2, checkpoints=resumable(*saved))
    (sentence,) = again[1].resumed.skipped
    assert again[1].resumed.epoch == 1
    assert sentence.startswith("epoch-1 was passed over: ")
    same(undisturbed, again, {0: undisturbed[1].epochs[0]} | again[1].epochs)


def test_another_jobs_checkpoint_in_the_place_of_the_newest_is_passed_over(benches, resumable, train):
    """The two have the same model, so that nothing but the checksum tells them apart."""
    bench, elsewhere = benches(), benches()
    spec = train(fit={"epochs": 2})
    undisturbed = bench.finish(spec)
    other = train(fit={"epochs": 2}, data={"train": {"dataset": "digits", "rows": [200, 390]}})
    _, others = elsewhere.finish(other)
    saved = list(undisturbed[1].checkpoints.values())[:2]
    theirs = elsewhere.volume / others.checkpoints["epoch-1"].file.path
    (bench.volume / saved[-1].file.path).write_bytes(theirs.read_bytes())

    again = bench.finish(spec, attempt=2, checkpoints=resumable(*saved))
    (sentence,) = again[1].resumed.skipped
    assert sentence.startswith("epoch-1 was passed over: ")
    assert "SHA-256" in sentence
    assert again[1].resumed.epoch == 1
    same(undisturbed, again, {0: undisturbed[1].epochs[0]} | again[1].epochs)


def test_without_any_sound_checkpoint_a_job_begins_again(bench, resumable, train):
    spec = train(fit={"epochs": 1})
    undisturbed = bench.finish(spec)
    saved = list(undisturbed[1].checkpoints.values())[:1]
    damage(bench.volume / saved[0].file.path, "flipped")
    again = bench.finish(spec, attempt=2, checkpoints=resumable(*saved))
    assert (again[1].resumed.epoch, again[1].resumed.step) == (0, 0)
    same(undisturbed, again, again[1].epochs)


def test_another_models_checkpoint_is_never_loaded(bench, resumable, train):
    other = train(model={"layers": [{"Flatten": {}}, {"Dense": {"units": 10}}]}, fit={"epochs": 1})
    _, report = bench.finish(other, attempt=9)
    _, again = bench.finish(train(), checkpoints=resumable(*report.checkpoints.values()))
    (sentence,) = again.resumed.skipped
    assert "has 2 weights and the model 8" in sentence


def test_other_data_than_before_is_refused(bench, resumable, train):
    _, report = bench.finish(train(fit={"epochs": 1}))
    changed = train(data={"train": {"dataset": "digits", "rows": [0, 100]}})
    with pytest.raises(BadData, match="had 152 rows when the job was interrupted and has 80 now"):
        bench.finish(changed, attempt=2, checkpoints=resumable(*report.checkpoints.values()))


def test_a_checkpoint_is_a_file_that_numpy_opens(bench, train):
    _, report = bench.finish(train(fit={"epochs": 1}))
    file = report.checkpoints["epoch-0"].file
    with np.load(bench.volume / file.path, allow_pickle=False) as archive:
        assert archive["weights.0"].shape == (64, 16)
        assert b'"optimizer"' in archive["manifest"].tobytes()


def test_lower_precision_survives_to_the_bit(bench, recorder, resumable, train):
    layers = [{"Flatten": {}}, {"Dense": {"units": 8, "dtype": "bfloat16"}}, {"Dense": {"units": 10}}]
    spec = train(model={"layers": layers}, fit={"epochs": 2})
    undisturbed = bench.finish(spec)
    saved = undisturbed[1].checkpoints["epoch-0"]
    again = bench.finish(spec, attempt=2, checkpoints=resumable(saved))
    same(undisturbed, again, {0: undisturbed[1].epochs[0]} | again[1].epochs)


def test_versions_that_changed_make_a_result_inexact_and_say_so(bench, train):
    ended, report = bench.finish(train(fit={"epochs": 1}))
    numerics = report.messages[0].numerics
    again, _ = bench.finish(train(fit={"epochs": 1}), attempt=2, numerics={**numerics, "numpy": "1.0"})
    assert "exact" not in ended.value
    assert again.value["exact"] is False
    assert "numpy was '1.0' when the job started" in again.value["inexact_because"][0]


def test_an_inexact_attempt_is_not_forgotten_by_the_exact_ones_after_it(bench, train, recorder, resumable):
    _, first = bench.finish(train())
    numerics = first.messages[0].numerics
    inexact = recorder(stop_at=ASKS + 2)
    saved = resumable(first.checkpoints["epoch-0"])
    bench.stop(train(), inexact, attempt=2, numerics={**numerics, "numpy": "1.0"}, checkpoints=saved)
    later = resumable(*inexact.checkpoints.values())
    again, _ = bench.finish(train(), attempt=3, numerics=numerics, checkpoints=later)
    assert again.value["exact"] is False
    assert "numpy was '1.0'" in again.value["inexact_because"][0]


def test_a_machine_that_cannot_use_the_jobs_threads_makes_a_result_inexact_and_says_so(bench, train):
    """TensorFlow's threads can be set before its first operation, which this process has long done."""
    _, report = bench.finish(train(fit={"epochs": 1}))
    numerics = {**report.messages[0].numerics, "intra_op_threads": 7}
    again, _ = bench.finish(train(fit={"epochs": 1}), attempt=2, numerics=numerics)
    assert again.value["exact"] is False
    assert "The job started with 7 threads" in again.value["inexact_because"][0]


def test_the_numerics_of_the_first_attempt_are_used_by_the_next(bench, train):
    _, report = bench.finish(train(fit={"epochs": 1}))
    numerics = {**report.messages[0].numerics, "plan": "step"}
    _, again = bench.finish(train(fit={"epochs": 1}), attempt=2, numerics=numerics)
    assert again.messages[0] == replace(report.messages[0], numerics=numerics)


def test_checkpoints_within_an_epoch_change_nothing_and_are_gone_on_from(bench, recorder, resumable, train):
    spec = train(fit={"epochs": 2}, callbacks=CALLBACKS)
    undisturbed = bench.finish(spec)
    # Old enough after every step: each of them is followed by a checkpoint.
    often = {**spec, "checkpoint": {"every_s": 1e-6}}
    saving = bench.finish(often, attempt=2)
    same(undisturbed, saving, saving[1].epochs)
    within = [one for name, one in saving[1].checkpoints.items() if name.startswith("step-")]
    # The fifth of each epoch is written before validation: who is killed while validating validates again.
    assert [one.step for one in within] == list(range(1, 11))

    for one in (within[1], within[4], within[8], within[9]):
        again = bench.finish(spec, attempt=3 + one.step, checkpoints=resumable(one))
        assert (again[1].resumed.epoch, again[1].resumed.step) == (one.epoch, one.step)
        kept = {epoch: row for epoch, row in undisturbed[1].epochs.items() if epoch < one.epoch}
        same(undisturbed, again, kept | again[1].epochs)


def test_in_a_long_epoch_too_there_is_a_checkpoint_before_a_damaged_one(bench, recorder, engine, train):
    """The checkpoints go through the rows and what these keep, as a supervisor writes them."""
    spec = train(fit={"epochs": 2}, callbacks=CALLBACKS, checkpoint={"every_s": 1e-6})
    undisturbed = bench.finish(spec)
    first = recorder(stop_at=ASKS + 4)
    bench.stop(spec, first, attempt=2)
    within = recorder(stop_at=4)
    bench.stop(spec, within, attempt=3)
    for report, epoch, steps in ((within, 0, [4, 3]), (first, 1, [9, 8])):
        saved = kept(engine, parse(spec), report)
        assert [one.step for one in saved[:2]] == steps
        newest, before = saved[:2]
        assert [one.name for one in saved if one.name.startswith("step-")] == [newest.name, before.name]
        damage(bench.volume / newest.file.path, "flipped")
        candidates = tuple(Resumable(one.name, one.epoch, one.step, one.file) for one in saved)
        again = bench.finish(spec, attempt=4 + epoch, checkpoints=candidates)
        (sentence,) = again[1].resumed.skipped
        assert sentence.startswith(f"{newest.name} was passed over: ")
        assert (again[1].resumed.epoch, again[1].resumed.step) == (epoch, before.step)
        done = {number: row for number, row in report.epochs.items() if number < epoch}
        same(undisturbed, again, done | again[1].epochs)


def kept(engine, spec, report):
    """Return the rows that stand for a job once all that it said of checkpoints was written down."""
    with db.write(engine) as connection:
        job = jobs.submit(connection, spec).job_id
        for one in report.all(Checkpointed):
            row = {**asdict(one), **asdict(one.file)}
            greater = row.pop("greater_is_better")
            del row["file"]
            checkpoints.record(connection, job, 1, row, greater=greater, keep=Retention())
        return checkpoints.listed(connection, job)


def test_a_checkpoint_that_was_asked_for_is_written_after_the_step(bench, recorder, train):
    spec = train(fit={"epochs": 1})
    report = recorder(saves=(2, 4))
    ended, _ = bench.finish(spec, report=report)
    assert list(report.checkpoints) == ["step-1", "step-3", "epoch-0"]
    assert ended.weights_sha256 == bench.finish(spec, attempt=2)[0].weights_sha256


def test_an_ended_job_goes_on_to_more_epochs_as_if_it_had_never_ended(bench, resumable, train):
    long = bench.finish(train(fit={"epochs": 5}))
    short = bench.finish(train(fit={"epochs": 3}), attempt=2)
    (last,) = resumable(short[1].checkpoints["epoch-2"])
    more = bench.finish(train(fit={"epochs": 5}), attempt=3, checkpoints=(replace(last, inherited=True),))
    same(long, more, short[1].epochs | more[1].epochs)


def test_a_job_that_stopped_early_goes_on_when_more_is_asked_of_it(bench, resumable, eventful):
    _, report = bench.finish(eventful)
    (last,) = resumable(report.checkpoints["epoch-3"])
    _, more = bench.finish(eventful, attempt=2, checkpoints=(replace(last, inherited=True),))
    assert min(more.epochs) == 4
