"""Predictions as files and answers: classes, several outputs, one sample, more than fits the memory."""

import tracemalloc

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from shared import spec as specs
from shared.errors import BadSpec

DIGITS = {"dataset": "digits", "split": "test", "rows": [0, 50]}
CLASSIFIER = {"layers": [{"Flatten": {}}, {"Dense": {"units": 10}}], "input_shape": [8, 8]}
NAMES = [f"digit {n}" for n in range(10)]


def job(**changes):
    return {"kind": "predict", "model": CLASSIFIER, "data": {"input": DIGITS, "scale": 0.0625}, **changes}


def line(units, **arguments):
    """Return a model of one Dense layer over one number."""
    return {"layers": [{"Dense": {"units": units, **arguments}}], "input_shape": [1]}


def npz(bench, report):
    with np.load(bench.volume / report.artifact.file.path) as saved:
        return {name: saved[name] for name in saved.files}


def test_parquet_holds_classes_and_outputs_by_name(bench):
    asked = {"head": "softmax", "class_names": NAMES}
    expected = npz(bench, bench.finish(job(**asked))[1])["predictions"]
    ended, report = bench.finish(job(**asked, top_k=2, save="parquet", batch_size=16))

    assert (report.artifact.name, report.artifact.content_type) == (
        "predictions.parquet",
        "application/vnd.apache.parquet",
    )
    table = pq.read_table(bench.volume / report.artifact.file.path)
    assert table.column_names == ["row", "class", "class_name", "probability", "top", "predictions"]
    assert table["row"].to_pylist() == list(range(50))
    np.testing.assert_allclose(np.array(table["predictions"].to_pylist()), expected, rtol=1e-6)
    best = expected.argmax(axis=1).tolist()
    assert table["class"].to_pylist() == ended.value["classes"] == best
    assert table["class_name"].to_pylist() == ended.value["names"] == [NAMES[n] for n in best]
    assert table["probability"].to_pylist() == pytest.approx(expected.max(axis=1).tolist(), rel=1e-6)
    assert table["top"].to_pylist() == ended.value["top"]


@pytest.mark.parametrize("save", ["npz", "parquet"])
def test_predictions_larger_than_memory_are_written_batch_by_batch(bench, save):
    rows, units = 30_000, 1024
    bench.save("x.npy", x=np.linspace(0, 1, rows, dtype=np.float32).reshape(-1, 1))
    spec = job(model=line(units), data={"input": {"npy": "x.npy"}}, batch_size=2000, save=save)
    tracemalloc.start()
    ended, report = bench.finish(spec)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert report.artifact.file.bytes > rows * units * 4 * 0.9
    assert peak < rows * units * 4 * 0.6
    assert (ended.value["shape"], ended.value["predictions"], ended.value["classes"]) == ([rows, units], None, None)
    path = bench.volume / report.artifact.file.path
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    if save == "parquet":
        assert pq.ParquetFile(path).metadata.num_row_groups > 3
        last = np.array(pq.read_table(path, columns=["predictions"])["predictions"][-1].as_py())
    else:
        last = np.load(path)["predictions"][-1]
    assert last.shape == (units,)
    assert np.abs(last).max() > 0


def test_one_sample_needs_no_batch_axis(bench):
    pixels = np.eye(8).tolist()
    one, _ = bench.finish(job(data={"input": {"sample": pixels}}))
    rows, _ = bench.finish(job(data={"input": {"x": [pixels]}}))

    assert one.value == rows.value
    assert one.value["rows"] == 1
    with pytest.raises(BadSpec, match=r"samples of shape \(8, 8\); the data's have shape \(1, 8, 8\)"):
        bench.run(job(data={"input": {"sample": [pixels]}}))
    with pytest.raises(BadSpec, match="exactly one of"):
        specs.parse(job(data={"input": {"y": [1]}}))
    with pytest.raises(BadSpec, match="is not a field here"):
        specs.parse(job(data={"input": {"sample": pixels, "x": [pixels]}}))


def two_outputs():
    x = keras.Input((1,), name="x")
    outputs = [keras.layers.Dense(2, name="near")(x), keras.layers.Dense(3, name="far")(x)]
    return {"architecture": keras.Model(x, outputs).to_json()}


def test_several_outputs_are_told_by_their_names(bench):
    spec = job(model=two_outputs(), data={"input": {"x": [[1.0], [2.0]]}})
    ended, report = bench.finish(spec)
    saved = npz(bench, report)

    assert {name: array.shape for name, array in saved.items()} == {"near": (2, 2), "far": (2, 3)}
    assert ended.value["shape"] == {"near": [2, 2], "far": [2, 3]}
    assert (ended.value["classes"], ended.value["top"]) == (None, None)
    _, report = bench.finish({**spec, "save": "parquet"})
    table = pq.read_table(bench.volume / report.artifact.file.path)
    assert table.column_names == ["row", "near", "far"]
    np.testing.assert_array_equal(np.array(table["far"].to_pylist(), np.float32), saved["far"])
    for asked in ({"top_k": 1}, {"head": "softmax"}):
        with pytest.raises(BadSpec, match=r"Classes need one output of shape \(any, classes\)"):
            bench.run({**spec, **asked})


def test_of_a_row_with_a_nan_no_class_is_told(bench):
    model = {"layers": [{"Softmax": {}}], "input_shape": [3]}
    bench.save("x.npy", x=np.array([[1, 2, 3], [np.nan, 0, 0]], np.float32))
    spec = job(model=model, data={"input": {"npy": "x.npy"}}, top_k=1, class_names=["a", "b", "c"])
    ended, _ = bench.finish(spec)

    assert (ended.value["classes"], ended.value["names"], ended.value["not_finite"]) == ([2, None], ["c", None], 1)
    assert ended.value["top"][1] is None
    assert ended.value["predictions"][1] == [None, 0.0, 0.0]
    _, report = bench.finish({**spec, "save": "parquet"})
    table = pq.read_table(bench.volume / report.artifact.file.path)
    assert table["class"].to_pylist() == [2, None]
    assert table["top"].to_pylist()[1] is None


@pytest.mark.parametrize("asked", [{"top_k": 1}, {"head": "softmax"}, {"class_names": ["only"]}])
def test_a_regression_has_no_classes(bench, asked):
    with pytest.raises(BadSpec, match="one number for each sample, which are no classes to choose from: leave"):
        bench.run(job(model=line(1), data={"input": {"x": [[1.0]]}}, **asked))


def test_a_regression_in_parquet_is_a_number_for_each_row(bench):
    model = {"layers": [{"Dense": {"units": 1, "kernel_initializer": "ones"}}], "input_shape": [1]}
    ended, report = bench.finish(job(model=model, data={"input": {"x": [[1.0], [2.5]]}}, save="parquet"))

    table = pq.read_table(bench.volume / report.artifact.file.path)
    assert table.column_names == ["row", "predictions"]
    assert table["predictions"].to_pylist() == [1.0, 2.5]
    assert ended.value["predictions"] == [[1.0], [2.5]]


def test_steps_go_on_pass_after_pass(bench):
    whole = npz(bench, bench.finish(job())[1])["predictions"]
    ended, report = bench.finish(job(steps=3))

    assert ended.value["rows"] == 32 + 18 + 32
    np.testing.assert_array_equal(npz(bench, report)["predictions"], np.concatenate([whole, whole[:32]]))


@pytest.mark.parametrize("save", ["npz", "parquet"])
def test_a_job_that_is_stopped_leaves_no_file(bench, recorder, save):
    report = recorder(stop_at=1)
    bench.stop(job(save=save), report)

    assert list((bench.volume / "jobs").rglob("*.*")) == []
