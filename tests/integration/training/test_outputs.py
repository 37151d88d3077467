"""Evaluate, predict and check, on trained models and on new ones."""

from dataclasses import asdict

import keras
import numpy as np
import pytest

from shared.errors import BadData, BadSpec, CheckpointCorrupt
from shared.sources.arrays import DatasetSource
from worker.training import datasets

TEST = {"dataset": "digits", "split": "test", "rows": [0, 50]}
SOURCE = "job_00000000-0000-7000-8000-00000000000a"


@pytest.fixture(scope="module")
def trained(train, benches):
    """Return a bench on which a job has been trained, and the job as a source of others."""
    bench = benches()
    spec = train(fit={"epochs": 2})
    _, report = bench.finish(spec, job_id=SOURCE)
    file = asdict(report.checkpoints["epoch-1"].file)
    parts = {"model": spec["model"], "compile": spec["compile"], "scale": 0.0625, "one_hot": None}
    return bench, {"job": SOURCE, "checkpoint": "epoch-1", "file": file, **parts}


@pytest.fixture(scope="module")
def twin(trained):
    """Return the trained model as a script would load it."""
    bench, source = trained
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
    with np.load(bench.volume / source["file"]["path"]) as saved:
        for index, variable in enumerate(model.weights):
            variable.assign(saved[f"weights.{index}"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def rows():
    x, y = datasets.load(DatasetSource(dataset="digits", split="test"), None, 1.0)
    return (x[:50] * 0.0625).astype("float32"), y[:50]


def evaluating(**changes):
    return {"kind": "evaluate", "model": {"job": SOURCE}, "data": {"test": TEST}, **changes}


def predicting(**changes):
    return {"kind": "predict", "model": {"job": SOURCE}, "data": {"input": TEST}, **changes}


def test_evaluate_gives_what_keras_gives(trained, twin, rows):
    bench, source = trained
    ended, report = bench.finish(evaluating(), source=source)
    assert ended.value == {"rows": 50, "metrics": twin.evaluate(*rows, verbose=0, return_dict=True), "value_kinds": {}}
    assert report.phases == ["loading data", "building", "evaluating"]


def test_evaluate_with_another_compile_and_scale(trained, twin, rows):
    bench, source = trained
    own = {"loss": "mse", "metrics": ["mae"]}
    ended, _ = bench.finish(evaluating(compile=own, data={"test": TEST, "scale": 1.0, "one_hot": 10}), source=source)
    expected = twin.predict(rows[0] * 16, verbose=0) - np.eye(10)[rows[1]]
    assert ended.value["metrics"]["mae"] == pytest.approx(np.abs(expected).mean(), rel=1e-5)
    assert ended.value["metrics"]["loss"] == pytest.approx((expected**2).mean(), rel=1e-5)


def test_what_is_not_finite_is_kept_as_a_fact(bench):
    model = {"layers": [{"Dense": {"units": 1, "kernel_initializer": "ones"}}], "input_shape": [1]}
    spec = {
        "kind": "evaluate",
        "model": model,
        "data": {"test": {"x": [[1e38]], "y": [-1e38]}},
        "compile": {"loss": "mse"},
    }
    ended, _ = bench.finish(spec)
    assert ended.value["metrics"] == {"loss": None}
    assert ended.value["value_kinds"] == {"loss": "+inf"}


def test_predict_gives_what_keras_gives(trained, twin, rows):
    bench, source = trained
    ended, report = bench.finish(predicting(), source=source)
    expected = twin.predict(rows[0], verbose=0)
    np.testing.assert_array_equal(np.asarray(ended.value["predictions"], np.float32), expected)
    assert ended.value["classes"] == expected.argmax(axis=1).tolist()
    assert (ended.value["rows"], ended.value["shape"], ended.value["top"]) == (50, [50, 10], None)
    with np.load(bench.volume / report.artifact.file.path) as saved:
        np.testing.assert_array_equal(saved["predictions"], expected)


def test_predict_with_a_softmax_head_names_the_likeliest_classes(trained, twin, rows):
    bench, source = trained
    names = [f"digit {n}" for n in range(10)]
    ended, _ = bench.finish(predicting(head="softmax", top_k=2, class_names=names), source=source)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(twin.predict(rows[0], verbose=0)))
    best = int(expected[0].argmax())
    assert ended.value["top"][0][0]["class"] == best
    assert ended.value["top"][0][0]["name"] == names[best]
    assert ended.value["top"][0][0]["probability"] == pytest.approx(expected[0].max(), rel=1e-5)
    assert len(ended.value["top"]) == 50
    assert all(len(row) == 2 for row in ended.value["top"])


def test_predictions_too_many_to_say_are_in_the_file(bench):
    model = {"layers": [{"Dense": {"units": 101}}], "input_shape": [1]}
    spec = {"kind": "predict", "model": model, "data": {"input": {"x": [[1.0]] * 100}}}
    ended, report = bench.finish(spec)
    assert ended.value["predictions"] is None
    assert ended.value["shape"] == [100, 101]
    assert report.artifact.file.bytes > 100 * 101 * 4


def test_predictions_that_are_not_finite_are_null_inline(bench):
    model = {"layers": [{"Dense": {"units": 2, "kernel_initializer": "ones"}}], "input_shape": [2]}
    ended, _ = bench.finish({"kind": "predict", "model": model, "data": {"input": {"x": [[3e38, 3e38], [1.0, 2.0]]}}})
    assert ended.value["predictions"] == [[None, None], [3.0, 3.0]]


@pytest.mark.parametrize("make", [evaluating, predicting])
@pytest.mark.parametrize("mode", ["release", "after_epoch"])
def test_a_stop_ends_at_the_next_batch(trained, recorder, make, mode):
    bench, source = trained
    assert bench.stop(make(), recorder(stop_at=1, mode=mode), source=source).mode == mode


def test_training_goes_on_from_another_jobs_weights(trained, train):
    bench, source = trained
    spec = train(model={}, fit={"epochs": 1}, compile={"optimizer": {"SGD": {"learning_rate": 0.0}}})
    spec["model"] = {"job": SOURCE}
    _, report = bench.finish(spec, source=source)
    own, given = report.checkpoints["epoch-0"].file.path, source["file"]["path"]
    with np.load(bench.volume / own) as saved, np.load(bench.volume / given) as first:
        np.testing.assert_array_equal(saved["weights.0"], first["weights.0"])


def test_a_source_that_was_altered_is_never_used(trained):
    bench, source = trained
    altered = {**source, "file": {**source["file"], "sha256": "0" * 64}}
    with pytest.raises(CheckpointCorrupt, match="not as recorded"):
        bench.run(evaluating(), source=altered)


def test_a_source_of_another_shape_names_what_differs(trained):
    bench, source = trained
    layers = [{"Dense": {"units": 17}} if "Dense" in one else one for one in source["model"]["layers"]]
    other = {**source, "model": {**source["model"], "layers": layers}}
    with pytest.raises(CheckpointCorrupt, match=r"\[64, 16\]\) where the model has .*\[64, 17\]"):
        bench.run(evaluating(), source=other)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"top_k": 11}, "the model has 10 classes"), ({"class_names": ["a"]}, "There are 1 class_names")],
)
def test_classes_that_the_model_does_not_have(trained, changes, sentence):
    bench, source = trained
    with pytest.raises(BadSpec, match=sentence):
        bench.run(predicting(**changes), source=source)


# --- check ---


def test_check_counts_without_training(bench, train):
    ended, report = bench.finish(train(fit={"epochs": 2, "batch_size": 50}) | {}, kind="check")
    value = ended.value
    assert (value["parameters"], value["trainable_parameters"]) == (1274, 1242)
    assert (value["samples"], value["steps_per_epoch"]) == (152, 4)
    assert (value["input_shape"], value["output_shape"]) == ((None, 8, 8), (None, 10))
    assert value["checkpoint_bytes"] > 4 * (1274 + 2 * 1242)
    assert value["disk_bytes"] == 4 * value["checkpoint_bytes"], "of two epochs, and two more"
    assert value["warnings"] == []
    assert report.checkpoints == {}


def test_check_of_a_model_too_large_for_the_machine_takes_no_memory(bench, train):
    layers = [{"Flatten": {}}, {"Dense": {"units": 65_536}}, {"Dense": {"units": 65_536}}, {"Dense": {"units": 10}}]
    spec = train(model={"layers": layers}, resources={"memory_mb": 1_000_000})
    ended, _ = bench.finish(spec, kind="check")
    assert ended.value["parameters"] == 4_299_948_042
    assert ended.value["memory_mb"] > 10_000


def test_check_finds_what_the_job_would_fail_with(bench, train):
    with pytest.raises(BadSpec, match="takes samples of shape"):
        bench.run(train(model={"input_shape": [9, 9]}), kind="check")
    (bench.volume / "data").mkdir()
    with pytest.raises(BadData, match="no file"):
        bench.run(train(data={"train": {"npz": "nothing.npz"}}), kind="check")


def test_check_warns_of_what_is_never_measured(bench, train):
    spec = train(callbacks=["EarlyStopping"])
    spec["data"] = {"train": spec["data"]["train"]}
    ended, _ = bench.finish(spec, kind="check")
    assert ended.value["warnings"] == [
        "EarlyStopping monitors val_loss, which is never measured: the job has no validation data."
    ]


def test_check_of_predict_and_evaluate(trained):
    bench, source = trained
    for spec in (evaluating(), predicting(top_k=3)):
        ended, _ = bench.finish(spec, kind="check", source=source)
        assert (ended.value["samples"], ended.value["steps_per_epoch"]) == (50, 2)
