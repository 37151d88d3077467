"""Callbacks that write files, swap weights or set the rate: what they leave, also after an interruption."""

import csv
import io
import os
import re
import shutil
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared.errors import BadSpec, CheckpointCorrupt
from worker.training.events import EventLog
from worker.training.files import Files
from worker.wire import Artifact

EVENTS = "events.out.tfevents.0000000000.job_00000000-0000-7000-8000-000000000001.v2"
RATES = [0.07, 0.06, 0.05, 0.04, 0.03, 0.02]
CALLBACKS = [
    {"LearningRateScheduler": {"rates": RATES}},
    {"ReduceLROnPlateau": {"monitor": "val_loss", "factor": 0.5, "patience": 1, "min_delta": 0.2}},
    {"ModelCheckpoint": {"filepath": "best.keras", "save_best_only": True}},
    {
        "ModelCheckpoint": {
            "filepath": "./steps/w{epoch:02d}-{batch}.weights.h5",
            "save_weights_only": True,
            "save_freq": 7,
        }
    },
    {"CSVLogger": {"filename": "logs/run.csv", "separator": ";"}},
    {"TensorBoard": {"log_dir": "./logs", "histogram_freq": 2, "update_freq": 3}},
    {"EarlyStopping": {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}},
]


@pytest.fixture(scope="module")
def writing(train):
    """A job of 4 epochs of 5 steps."""
    return train(callbacks=CALLBACKS, fit={"epochs": 4, "class_weight": {"3": 2.0, "5": 0.5}})


@pytest.fixture(scope="module")
def undisturbed(writing, benches):
    bench = benches()
    return bench, *bench.finish(writing)


def left(bench, *reports):
    """Return the files that exist at the end, by name: a later row replaces an earlier one."""
    rows = [one for report in reports for one in report.all(Artifact)]
    return {one.name: (bench.volume / one.file.path) for one in rows}


def events(path):
    """Return what TensorBoard reads of a run, or of a file under the name that it is downloaded by."""
    if path.is_file():
        run = path.with_name(f"run-{path.name}")
        run.mkdir(exist_ok=True)
        shutil.copy(path, run / EVENTS)
        path = run
    run = EventAccumulator(os.fspath(path), size_guidance={"tensors": 0}).Reload()
    tags = run.Tags()["tensors"]
    return {tag: [(one.step, tf.make_ndarray(one.tensor_proto).tolist()) for one in run.Tensors(tag)] for tag in tags}


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter=";"))


def weights_of(path):
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_what_callbacks_leave_is_what_keras_leaves(undisturbed):
    bench, ended, report = undisturbed
    files = left(bench, report)
    rows = rows_of(files["logs/run.csv"])
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in report.epochs.values()]
    assert sorted(name for name in files if name.startswith("steps/")) == [
        "steps/w02-2.weights.h5",
        "steps/w03-4.weights.h5",
    ]
    best = keras.saving.load_model(files["best.keras"])
    epoch = min(report.epochs, key=lambda one: report.epochs[one]["val_loss"])
    with np.load(bench.volume / report.checkpoints[f"epoch-{epoch}"].file.path) as saved:
        np.testing.assert_array_equal(best.layers[1].kernel.numpy(), saved["weights.0"])
    assert ended.value["epochs"] == 4
    train, validation = (events(files[f"logs/{run}/{EVENTS}"]) for run in ("train", "validation"))
    assert [step for step, _ in train["epoch_loss"]] == [0, 1, 2, 3]
    assert [step for step, _ in train["batch_loss"]] == [3, 6, 9, 12, 15, 18]
    assert [step for step, _ in validation["evaluation_loss_vs_iterations"]] == [5, 10, 15, 20]
    assert [np.float32(row["val_loss"]) for row in report.epochs.values()] == [
        np.float32(value) for _, value in validation["epoch_loss"]
    ]


def same_files(first, second):
    assert first.keys() == second.keys()
    for name, path in first.items():
        if name.endswith(".csv"):
            assert path.read_bytes() == second[name].read_bytes()
        elif name.endswith(".v2"):
            assert events(path) == events(second[name])
        elif name.endswith(".keras"):
            one, other = weights_of(path), weights_of(second[name])
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("asks", [4, 13])
def test_interrupted_anywhere_a_job_leaves_the_same_files(undisturbed, recorder, resumable, writing, asks):
    bench, ended, report = undisturbed
    first = recorder(stop_at=asks)
    bench.stop(writing, first, attempt=10 + 2 * asks)
    again, second = bench.finish(writing, attempt=11 + 2 * asks, checkpoints=resumable(*first.checkpoints.values()))
    assert again.weights_sha256 == ended.weights_sha256
    same_files(left(bench, report), left(bench, first, second))


def test_killed_after_any_checkpoint_a_job_leaves_the_same_files(undisturbed, recorder, resumable, writing):
    bench, ended, report = undisturbed
    saved = list(report.checkpoints.values())
    for count in (1, 3, len(saved)):
        # Killed before what the checkpoint knows was said: the rows are those of the checkpoint before.
        at = report.messages.index(saved[count - 1])
        first = recorder()
        first.messages = report.messages[: at + 1]
        again, second = bench.finish(writing, attempt=40 + count, checkpoints=resumable(*saved[:count]))
        assert again.weights_sha256 == ended.weights_sha256
        same_files(left(bench, report), left(bench, first, second))


def test_a_log_that_is_gone_makes_its_checkpoint_unusable(bench, recorder, resumable, train):
    spec = train(callbacks=[{"CSVLogger": {"filename": "run.csv"}}], fit={"epochs": 2})
    ended, report = bench.finish(spec)
    for path in (bench.volume / "jobs").rglob("1.log"):
        path.write_bytes(b"epoch")
    saved = report.checkpoints["epoch-0"]
    again, second = bench.finish(spec, attempt=2, checkpoints=resumable(saved))
    assert second.resumed.skipped == (
        "epoch-0 was passed over: The file 'run.csv' of the time is not there as it was.",
    )
    assert again.weights_sha256 == ended.weights_sha256
    assert left(bench, report, second)["run.csv"].read_text().count("\n") == 3


def test_an_ended_job_whose_log_is_gone_is_not_begun_anew(bench, recorder, resumable, train):
    writing = {"callbacks": [{"CSVLogger": {"filename": "run.csv"}}]}
    _, ended = bench.finish(train(**writing, fit={"epochs": 1}))
    for path in (bench.volume / "jobs").rglob("1.log"):
        path.write_bytes(b"epoch")
    (last,) = resumable(ended.checkpoints["epoch-0"])
    report = recorder()
    with pytest.raises(CheckpointCorrupt, match=r"^The job cannot go on from epoch-0: The file 'run\.csv' of the time"):
        bench.run(train(**writing, fit={"epochs": 2}), report, attempt=2, checkpoints=(replace(last, inherited=True),))
    assert not report.epochs


def test_events_are_those_of_keras(bench, recorder, tmp_path):
    """In one training, Keras's callback and ours see the same."""
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1, bias_initializer="ones")])
    model.compile("adam", "mse", metrics=["mae"])
    report = recorder()
    files = Files(bench.assignment({"kind": "train"}), report)
    arguments = {"histogram_freq": 1, "update_freq": 1}
    ours = EventLog(files, log_dir="logs", **arguments)
    theirs = keras.callbacks.TensorBoard(tmp_path / "theirs", **arguments)
    model.fit(x, x[:, :1], epochs=2, validation_split=0.5, callbacks=[ours, theirs], verbose=0)
    files.publish(final=True)
    for run in ("train", "validation"):
        mine, keras_own = events(left(bench, report)[f"logs/{run}/{EVENTS}"]), events(tmp_path / "theirs" / run)
        assert mine.keys() == keras_own.keys()
        for tag in mine.keys() - {"keras"}:
            assert [step for step, _ in mine[tag]] == [step for step, _ in keras_own[tag]], tag
            for (_, one), (_, other) in zip(mine[tag], keras_own[tag], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=tag)


def test_rates_and_plateaus_together_are_as_in_keras(bench, train):
    rates = {"LearningRateScheduler": {"rates": [0.01, 0.02, 0.03, 0.04]}}
    reduce = {"ReduceLROnPlateau": {"monitor": "loss", "mode": "max", "patience": 1, "factor": 0.5}}
    _, report = bench.finish(train(callbacks=[rates, reduce], fit={"epochs": 4, "initial_epoch": 1}))
    # The plateau's rate lasts until the next epoch begins.
    assert [row["learning_rate"] for row in report.epochs.values()] == pytest.approx([0.02, 0.03, 0.04])


def test_averaged_weights_are_swapped_in_and_out(bench, recorder, resumable, train):
    swap = {"SwapEMAWeights": {"swap_on_epoch": True}}
    adam = {"Adam": {"learning_rate": 0.01, "use_ema": True}}
    spec = train(callbacks=[swap], compile={"optimizer": adam}, fit={"epochs": 2})
    ended, undisturbed = bench.finish(spec)
    for asks in (6, 10):
        first = recorder(stop_at=asks)
        bench.stop(spec, first, attempt=asks)
        again, second = bench.finish(spec, attempt=asks + 1, checkpoints=resumable(*first.checkpoints.values()))
        assert again.weights_sha256 == ended.weights_sha256
        assert first.epochs | second.epochs == undisturbed.epochs


@pytest.mark.parametrize(
    ("callback", "compiled", "sentence"),
    [
        ("SwapEMAWeights", {}, "SwapEMAWeights needs an optimizer with use_ema: true"),
        (
            {"LearningRateScheduler": {"rates": [0.1] * 4}},
            {
                "optimizer": {
                    "SGD": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 9}}}
                }
            },
            "LearningRateScheduler cannot change a learning rate that follows a schedule",
        ),
        (
            {"ModelCheckpoint": {"filepath": "{val_acc:.2f}.keras"}},
            {},
            "filepath names 'val_acc', which is not there; there are epoch, accuracy, loss, val_accuracy, val_loss",
        ),
        (
            {"ModelCheckpoint": {"filepath": "{loss:02d}.keras"}},
            {},
            "filepath '{loss:02d}.keras' gives no name",
        ),
    ],
)
def test_callbacks_that_cannot_work_are_explained(bench, train, callback, compiled, sentence):
    with pytest.raises(BadSpec, match=re.escape(sentence)):
        bench.run(train(callbacks=[callback], compile=compiled, fit={"epochs": 1}))
