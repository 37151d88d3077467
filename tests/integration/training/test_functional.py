"""Models that are graphs: trained, evaluated, predicted, and taken up by other jobs."""

import json

import keras
import numpy as np
import pytest

SOURCE = "job_00000000-0000-7000-8000-000000000002"
TRAIN = {"dataset": "digits", "rows": [0, 64]}
COMPILE = {
    "optimizer": "adam",
    "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
    "metrics": ["accuracy"],
}


def branching():
    """Return a model with two branches that meet."""
    inputs = keras.Input((8, 8))
    flat = keras.layers.Flatten()(inputs)
    wide = keras.layers.Dense(16, activation="relu")(flat)
    deep = keras.layers.Dense(16, activation="relu")(keras.layers.Dense(8, activation="relu")(flat))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Add()([wide, deep])))


def nested():
    """Return a Sequential that holds a graph."""
    return keras.Sequential([keras.Input((8, 8)), branching(), keras.layers.Dense(10)])


@pytest.mark.parametrize("make", [branching, nested])
def test_a_graph_is_trained_evaluated_and_predicted(bench, make):
    architecture = json.loads(make().to_json())
    job = {
        "kind": "train",
        "model": {"architecture": architecture},
        "data": {"train": TRAIN, "validation": {"split": 0.25}},
        "compile": COMPILE,
        "fit": {"epochs": 2},
    }
    ended, report = bench.finish(job)
    saved = report.checkpoints[ended.final_checkpoint]
    source = {
        "job": SOURCE,
        "checkpoint": saved.name,
        "file": {"path": saved.file.path, "bytes": saved.file.bytes, "sha256": saved.file.sha256},
        "model": job["model"],
        "compile": COMPILE,
        "scale": None,
        "one_hot": None,
    }

    measured, _ = bench.finish({"kind": "evaluate", "model": {"job": SOURCE}, "data": {"test": TRAIN}}, source=source)
    predicted, _ = bench.finish({"kind": "predict", "model": {"job": SOURCE}, "data": {"input": TRAIN}}, source=source)
    assert set(report.epochs) == {0, 1}
    assert set(measured.value["metrics"]) == {"loss", "accuracy"}
    assert np.shape(predicted.value["predictions"]) == (64, 10)


def test_a_metric_of_several_numbers_becomes_one_for_each(bench, train):
    job = train(
        data={"train": TRAIN, "one_hot": 10},
        compile={
            "optimizer": "adam",
            "loss": {"CategoricalCrossentropy": {"from_logits": True}},
            "metrics": [{"F1Score": {"name": "f1"}}],
        },
    )
    ended, report = bench.finish(job)

    assert {name for name in report.epochs[0] if name.startswith("f1")} == {f"f1_{n}" for n in range(10)}
    assert "f1_9" in ended.value["metrics"]
