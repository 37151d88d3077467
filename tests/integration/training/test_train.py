"""Training gives what Keras's own `fit` gives."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared import spec as specs
from shared.errors import BadSpec, NaNLoss
from shared.sources.arrays import DatasetSource
from worker.training import datasets
from worker.training.batches import Order


def script(spec, seed=7):
    """Return the model that a script with the same seed has before training."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def digits():
    x, y = datasets.load(DatasetSource(dataset="digits", split="train"), None, 1.0)
    return (x[:190] * 0.0625).astype("float32"), y[:190]


@pytest.mark.parametrize("steps", [None, 3])
def test_weights_and_history_are_those_of_fit(bench, train, steps):
    spec = train(fit={"epochs": 2, "steps_per_epoch": steps, "validation_batch_size": 20}, data={"shuffle": False})
    ended, report = bench.finish(spec)
    model = script(spec)
    x, y = digits()
    rows = tf.data.Dataset.from_tensor_slices((x[:152], y[:152])).batch(32)
    validation = tf.data.Dataset.from_tensor_slices((x[152:], y[152:])).batch(20)
    repeated = rows if steps is None else rows.repeat()
    history = model.fit(repeated, epochs=2, steps_per_epoch=steps, validation_data=validation, verbose=0)
    saved = np.load(bench.volume / report.checkpoints["epoch-1"].file.path)
    for index, weights in enumerate(model.get_weights()):
        np.testing.assert_array_equal(saved[f"weights.{index}"], weights)
    logged = {name: [row[name] for row in report.epochs.values()] for name in report.epochs[0]}
    assert logged == history.history
    assert list(logged) == list(history.history)
    assert ended.final_checkpoint == "epoch-1"


def test_a_job_says_what_it_does(bench, train):
    ended, report = bench.finish(train(fit={"epochs": 1}))
    assert report.phases[:4] == ["loading data", "building", "compiling", "training"]
    assert {"validating", "saving"} <= set(report.phases)
    assert (report.resumed.epoch, report.resumed.step, report.resumed.skipped) == (0, 0, ())
    assert ended.value["epochs"] == 1
    assert ended.value["parameters"] == 1274
    assert ended.value["metrics"] == report.epochs[0]
    assert ended.weights_sha256 == report.checkpoints["epoch-0"].weights_sha256


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(bench, train):
    spec = train(fit={"epochs": 1})
    first, _ = bench.finish(spec)
    second, _ = bench.finish(spec, attempt=2)
    third, _ = bench.finish(spec, attempt=3, seed=8)
    assert first.weights_sha256 == second.weights_sha256 != third.weights_sha256


def test_dropout_draws_from_the_jobs_seed(bench, train):
    # Without shuffling and with constant weights, only the dropout's masks depend on the seed.
    layers = [
        {"Flatten": {}},
        {"Dropout": {"rate": 0.5}},
        {"Dense": {"units": 10, "kernel_initializer": "zeros"}},
    ]
    spec = train(model={"layers": layers}, data={"shuffle": False}, fit={"epochs": 1})
    first, second, third = (bench.finish(spec, attempt=n, seed=seed)[0] for n, seed in enumerate((1, 1, 2)))
    assert first.weights_sha256 == second.weights_sha256 != third.weights_sha256


def test_restored_best_weights_are_a_checkpoint_of_their_own(bench, train):
    stopping = {"EarlyStopping": {"monitor": "loss", "mode": "max", "restore_best_weights": True, "patience": 1}}
    ended, report = bench.finish(train(callbacks=[stopping], fit={"epochs": 4}))
    assert ended.value["epochs"] == 2
    assert ended.value["stopped_early"]
    assert ended.final_checkpoint == "final"
    assert list(report.checkpoints) == ["epoch-0", "epoch-1", "final"]
    assert report.checkpoints["final"].weights_sha256 == report.checkpoints["epoch-0"].weights_sha256


def test_checkpoints_come_when_asked_for_and_at_the_end(bench, train):
    spec = train(fit={"epochs": 3}, checkpoint={"every_epochs": 2, "monitor": "val_accuracy"})
    _, report = bench.finish(spec)
    assert [(one.name, one.epoch, one.step) for one in report.checkpoints.values()] == [
        ("epoch-1", 2, 10),
        ("epoch-2", 3, 15),
    ]
    saved = report.checkpoints["epoch-1"]
    assert (saved.monitor, saved.greater_is_better) == ("val_accuracy", True)
    assert saved.value == report.epochs[1]["val_accuracy"]


def test_an_epoch_is_said_before_its_checkpoint(bench, train):
    _, report = bench.finish(train(fit={"epochs": 2}))
    said = [type(message).__name__ for message in report.messages if type(message).__name__ != "Progress"]
    assert said == ["Started", "Resumed", "Epoch", "Checkpointed", "Epoch", "Checkpointed"]


def test_validation_every_second_epoch(bench, train):
    _, report = bench.finish(train(fit={"epochs": 2, "validation_freq": 2, "validation_steps": 1}))
    assert "val_loss" not in report.epochs[0]
    assert "val_loss" in report.epochs[1]


def test_initial_epoch_only_renumbers(bench, train):
    ended, report = bench.finish(train(fit={"epochs": 5, "initial_epoch": 3}))
    assert list(report.epochs) == [3, 4]
    assert ended.value["epochs"] == 2
    assert ended.final_checkpoint == "epoch-4"


def test_a_learning_rate_that_fell_is_in_the_logs(bench, train):
    reduce = {"ReduceLROnPlateau": {"monitor": "loss", "mode": "max", "patience": 1, "factor": 0.5}}
    _, report = bench.finish(train(callbacks=[reduce], fit={"epochs": 3}))
    rates = [row["learning_rate"] for row in report.epochs.values()]
    assert rates == pytest.approx([0.01, 0.01, 0.005])


# --- NaN ---


@pytest.fixture
def exploding(train):
    """A job whose loss becomes NaN."""

    def make(**changes):
        return train(
            model={"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
            data={
                "train": {"x": [[1e30, 2.0], [3.0, 1e30]] * 4, "y": [1.0, 2.0] * 4},
                "validation": None,
                "scale": 1.0,
            },
            compile={"optimizer": {"SGD": {"learning_rate": 1e6}}, "loss": "mse", "metrics": []},
            **{"fit": {"epochs": 3, "batch_size": 4}, **changes},
        )

    return make


def test_nan_ends_a_job_and_its_epoch_is_told(bench, recorder, exploding):
    report = recorder()
    with pytest.raises(NaNLoss, match=r"loss became NaN in epoch \d, by step \d of 2"):
        bench.run(exploding(), report)
    assert math.isnan(report.epochs[max(report.epochs)]["loss"])


def test_nan_within_a_long_epoch_is_found_before_its_end(bench, recorder, exploding):
    report = recorder()
    with pytest.raises(NaNLoss, match="by step 64 of 1000"):
        bench.run(exploding(fit={"epochs": 1, "batch_size": 4, "steps_per_epoch": 1000}), report)
    assert math.isnan(report.epochs[0]["loss"])


def test_nan_can_be_trained_through(bench, exploding):
    fit = {"epochs": 3, "batch_size": 4, "on_nan": "continue"}
    ended, report = bench.finish(exploding(fit=fit))
    assert len(report.epochs) == 3
    assert ended.value["metrics"]["loss"] is None
    assert ended.value["value_kinds"] == {"loss": "nan"}


def test_terminate_on_nan_ends_a_job_early_and_well(bench, exploding):
    fit = {"epochs": 30, "batch_size": 4, "on_nan": "continue"}
    ended, report = bench.finish(exploding(fit=fit, callbacks=["TerminateOnNaN"]))
    assert ended.value["stopped_early"]
    assert len(report.epochs) == ended.value["epochs"] < 3


def inline(x, y, **changes):
    """Return two columns of data in the spec itself."""
    return {"train": {"x": x, "y": y}, "validation": None, "scale": 1.0, **changes}


LINE = {"layers": [{"Dense": {"units": 1}}], "input_shape": [1]}


def test_nan_in_a_later_epoch_leaves_the_checkpoints_before_it(bench, recorder, train):
    rates = {"LearningRateScheduler": {"rates": [0.01, 0.01, 1e6, 0.01]}}
    data = inline([[float(n % 3)] for n in range(32)], [1.0] * 32)
    compiled = {"optimizer": {"SGD": {"learning_rate": 0.01}}, "loss": "mse", "metrics": []}
    report = recorder()
    with pytest.raises(NaNLoss, match="in epoch 2, by step"):
        bench.run(train(model=LINE, data=data, compile=compiled, callbacks=[rates], fit={"batch_size": 1}), report)
    assert list(report.epochs) == [0, 1, 2]
    assert list(report.checkpoints) == ["epoch-0", "epoch-1"]
    with np.load(bench.volume / report.checkpoints["epoch-1"].file.path, allow_pickle=False) as archive:
        assert all(np.isfinite(archive[name]).all() for name in archive.files if name.startswith("weights."))


def test_nan_in_the_validation_alone_is_found_and_named(bench, recorder, train):
    name = bench.save("v.npz", x=np.array([[np.nan]], np.float32), y=np.array([1.0], np.float32))
    data = inline([[1.0], [2.0]], [1.0, 2.0], validation={"npz": name})
    report = recorder()
    with pytest.raises(NaNLoss, match="val_loss became NaN in epoch 0"):
        bench.run(train(model=LINE, data=data, compile={"loss": "mse", "metrics": []}), report)
    assert math.isfinite(report.epochs[0]["loss"])
    assert math.isnan(report.epochs[0]["val_loss"])


def test_labels_that_are_all_equal_train_and_are_measured(bench, train):
    data = inline([[1.0], [2.0], [3.0]], [1, 1, 1])
    compiled = {"loss": "binary_crossentropy", "metrics": ["accuracy", "AUC"]}
    ended, _ = bench.finish(train(model=LINE, data=data, compile=compiled))
    assert math.isfinite(ended.value["metrics"]["loss"])
    assert ended.value["metrics"]["AUC"] == 0.0, "as Keras says it"


def test_one_sample_in_a_batch_larger_than_the_data(bench, train):
    ended, report = bench.finish(
        train(
            model=LINE,
            data=inline([[1.0]], [2.0]),
            compile={"loss": "mse", "metrics": []},
            fit={"epochs": 2, "batch_size": 4096},
        )
    )
    assert ended.value["steps"] == 2
    assert report.epochs[1]["loss"] < report.epochs[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"fit": {"epochs": 0}}, "epochs"), ({"data": inline([], [])}, "x"), ({"fit": {"batch_size": 0}}, "batch_size")],
)
def test_nothing_to_train_on_is_refused_at_the_door(train, changes, says):
    with pytest.raises(BadSpec, match=says):
        specs.parse(train(**changes))


# --- what cannot be trained ---


def test_data_that_does_not_fit_the_model_names_both_shapes(bench, train):
    with pytest.raises(BadSpec, match=r"takes samples of shape \(9, 9\); the data's have shape \(8, 8\)"):
        bench.run(train(model={"input_shape": [9, 9]}))


def test_a_model_that_cannot_fit_the_memory_is_refused_with_numbers(bench, train):
    layers = [{"Flatten": {}}, {"Dense": {"units": 65_536}}, {"Dense": {"units": 65_536}}]
    with pytest.raises(BadSpec, match=r"4,299,292,672 parameters and takes at least [\d,]+ MB; .* allows 2,048"):
        bench.run(train(model={"layers": layers}))


def test_a_loss_that_does_not_fit_the_labels_is_explained(bench, train):
    with pytest.raises(BadSpec, match="The model cannot be trained on the data: ") as caught:
        bench.run(train(compile={"loss": "categorical_crossentropy"}))
    assert "\n" not in caught.value.message


def test_layers_that_do_not_fit_each_other_are_explained(bench, train):
    layers = [{"Conv2D": {"filters": 2, "kernel_size": 20}}, {"Flatten": {}}, {"Dense": {"units": 10}}]
    with pytest.raises(BadSpec, match="The model cannot be built: "):
        bench.run(train(model={"layers": layers, "input_shape": [8, 8, 1]}))


def test_a_callback_that_cannot_work_is_explained(bench, train):
    stopping = {"EarlyStopping": {"monitor": "val_nonsense"}}
    with pytest.raises(BadSpec, match="monitor=val_nonsense"):
        bench.run(train(callbacks=[stopping]))


def test_images_without_a_channel_axis_fit_a_convolution(bench, train):
    layers = [{"Conv2D": {"filters": 2, "kernel_size": 3}}, {"Flatten": {}}, {"Dense": {"units": 10}}]
    ended, _ = bench.finish(train(model={"layers": layers, "input_shape": [8, 8, 1]}, fit={"epochs": 1}))
    assert ended.value["epochs"] == 1


# --- the order of the data ---


def test_the_order_is_a_function_of_the_step():
    order = Order(rows=10, batch_size=4, shuffle=True, seed=3)
    one_pass = [order.indices(step) for step in range(order.steps_per_pass)]
    assert [len(rows) for rows in one_pass] == [4, 4, 2]
    assert sorted(np.concatenate(one_pass)) == list(range(10))
    assert not np.array_equal(order.indices(0), order.indices(3))
    np.testing.assert_array_equal(order.indices(4), Order(10, 4, shuffle=True, seed=3).indices(4))
