"""Each form of data that is streamed: cut anywhere, a job goes on to the bits of an undisturbed one."""

import io
import zipfile

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import parquet as pq

from shared.errors import BadData
from worker.training import arrays, data, engine

ROWS = 640
FEATURES = 4
BATCH = 32
#: Rows of a window.
WINDOW = 4 * BATCH


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Stream what is small: the job's memory holds none of it, and a window some batches; blocks are small, too."""
    monkeypatch.setattr(data, "_RESIDENT", 1 << 40)
    monkeypatch.setattr(data, "_window", lambda *_: WINDOW)
    for module in ("lines", "tfrecord", "reader"):
        monkeypatch.setattr(f"worker.training.sources.{module}.BLOCK_BYTES", 1000)


@pytest.fixture(autouse=True)
def streams(monkeypatch):
    """Count the data sets that are streamed."""
    found = []
    streamed = engine._streamed
    monkeypatch.setattr(engine, "_streamed", lambda *given: found.append(given) or streamed(*given))
    return found


def table():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, ROWS)
    x = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    x[:, 0] += 4 * y
    return x, y


class Forms:
    """Writes the same rows in each form, and returns the source and the shape of a sample."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir()
        self.x, self.y = table()
        self.words = [("no", "yes")[k] for k in self.y]

    def npy(self):
        np.save(self.folder / "x.npy", self.x)
        np.save(self.folder / "y.npy", self.y)
        return {"npy": "x.npy", "labels": "y.npy"}, [FEATURES]

    def npz(self):
        np.savez(self.folder / "d.npz", x=self.x, y=self.y)
        return {"npz": "d.npz"}, [FEATURES]

    def csv(self):
        rows = [",".join(map(repr, row)) + f",{word}" for row, word in zip(self.x.tolist(), self.words, strict=True)]
        (self.folder / "d.csv").write_text("\n".join(["a,b,c,d,word", *rows]))
        return {"csv": "d.csv", "label": "word"}, [FEATURES]

    def parquet(self):
        columns = {name: self.x[:, n] for n, name in enumerate("abcd")}
        pq.write_table(pa.table({**columns, "word": self.words}), self.folder / "d.parquet", row_group_size=50)
        return {"parquet": "d.parquet", "label": "word"}, [FEATURES]

    def tfrecord(self):
        paths = ["0.tfrecord", "1.tfrecord"]
        for path, part in zip(paths, (range(200), range(200, ROWS)), strict=True):
            with tf.io.TFRecordWriter(str(self.folder / path)) as writer:
                for row in part:
                    writer.write(self._example(row))
        features = {"x": {"shape": [FEATURES]}, "y": {"dtype": "int64"}}
        return {"tfrecord": paths, "features": features, "label": "y"}, [FEATURES]

    def _example(self, row):
        x = tf.train.Feature(float_list=tf.train.FloatList(value=self.x[row]))
        y = tf.train.Feature(int64_list=tf.train.Int64List(value=[self.y[row]]))
        return tf.train.Example(features=tf.train.Features(feature={"x": x, "y": y})).SerializeToString()

    def _pictures(self):
        for row, word in enumerate(self.words):
            file = io.BytesIO()
            pixels = np.random.default_rng(row).integers(0, 100, (2, 2), np.uint8) + 100 * self.y[row]
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            yield f"{word}/{row}.png", file.getvalue()

    def images(self):
        for name, content in self._pictures():
            path = self.folder / "shades" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return {"images": "shades", "image_size": [2, 2], "color": "grayscale"}, [2, 2, 1]

    def archive(self):
        with zipfile.ZipFile(self.folder / "shades.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in self._pictures():
                file.writestr(name, content)
        return {"images": "shades.zip", "image_size": [2, 2], "color": "grayscale"}, [2, 2, 1]


def spec(source, shape):
    return {
        "kind": "train",
        "model": {
            "layers": ["Flatten", {"Dense": {"units": 4, "activation": "relu"}}, {"Dropout": {"rate": 0.25}}, *LAST],
            "input_shape": shape,
        },
        "data": {"train": source, "validation": {"split": 0.1}, "scale": 0.01},
        "compile": {
            "optimizer": {"Adam": {"learning_rate": 0.02}},
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        "fit": {"epochs": 2, "batch_size": BATCH},
    }


LAST = [{"Dense": {"units": 2}}]
FORMS = ["npy", "npz", "csv", "parquet", "tfrecord", "images", "archive"]
#: Asks are those before each of an epoch's 18 steps, before each of 2 validation steps, and at its end.
ASKS = 21


@pytest.mark.parametrize("form", FORMS)
def test_cut_anywhere_a_streamed_job_goes_on_to_the_same_bits(bench, recorder, resumable, streams, form):
    source, shape = getattr(Forms(bench.volume / "data"), form)()
    job = spec(source, shape)
    whole, report = bench.finish(job)
    assert len(streams) == 2

    def goes_on(attempt, saved, before):
        again, second = bench.finish(job, attempt=attempt, checkpoints=resumable(saved))
        assert (second.resumed.epoch, second.resumed.step) == (saved.epoch, saved.step)
        assert again.weights_sha256 == whole.weights_sha256
        assert again.value == whole.value
        kept = {epoch: row for epoch, row in before.epochs.items() if epoch < saved.epoch}
        assert kept | second.epochs == report.epochs

    # Killed after the first epoch's checkpoint.
    goes_on(2, report.checkpoints["epoch-0"], report)
    # Released within a window, at a window's end, while validating, and in the second epoch.
    for attempt, asks in enumerate((3, 5, 20, ASKS + 7), 3):
        released = recorder(stop_at=asks)
        bench.stop(job, released, attempt=10 * attempt)
        goes_on(10 * attempt + 1, list(released.checkpoints.values())[-1], released)


def test_an_order_that_has_changed_is_noticed(bench, resumable, monkeypatch):
    source, shape = Forms(bench.volume / "data").npy()
    whole, report = bench.finish(spec(source, shape))
    saved = resumable(report.checkpoints["epoch-0"])
    assert "exact" not in whole.value
    monkeypatch.setattr(data, "_window", lambda *_: 2 * WINDOW)
    again, _ = bench.finish(spec(source, shape), attempt=2, checkpoints=saved)
    assert again.value["exact"] is False
    (reason,) = again.value["inexact_because"]
    assert "streamed in windows of 128 rows over" in reason
    assert "and is streamed in windows of 256 rows over" in reason


def test_data_that_is_no_longer_streamed_is_noticed(bench, resumable, monkeypatch):
    source, shape = Forms(bench.volume / "data").npy()
    _, report = bench.finish(spec(source, shape))
    monkeypatch.setattr(data, "_RESIDENT", 4)
    again, _ = bench.finish(spec(source, shape), attempt=2, checkpoints=resumable(report.checkpoints["epoch-0"]))
    assert "and is kept in memory and shuffled now" in again.value["inexact_because"][0]


def test_a_broken_row_of_a_streamed_table_is_named_by_its_line(bench):
    source, shape = Forms(bench.volume / "data").csv()
    path = bench.volume / "data" / "d.csv"
    rows = path.read_text().split("\n")
    rows[500] = "1,2,three,4,yes"
    path.write_text("\n".join(rows))
    with pytest.raises(BadData, match=r"d\.csv, line 501, column 'c': 'three' is no number"):
        bench.run(spec(source, shape))


def test_a_file_that_is_written_to_while_it_is_streamed_ends_the_job(bench, recorder):
    source, shape = Forms(bench.volume / "data").npy()
    path = bench.volume / "data" / "x.npy"

    class Meddler(recorder):
        def stop_mode(self):
            if self.asked == 12:
                path.write_bytes(path.read_bytes()[::-1])
            return super().stop_mode()

    report = Meddler()
    with pytest.raises(BadData, match=r"x\.npy was (written to|cut short) while"):
        bench.run(spec(source, shape), report)
    assert not report.epochs


# --- several arrays, weights, batches of their own ---


def two():
    """Return the architecture of a model of two inputs and two outputs."""
    keras.backend.clear_session()
    left, right = keras.Input((3,), name="left"), keras.Input((1,), name="right")
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()([left, right]))
    value, kind = (keras.layers.Dense(units, name=name)(hidden) for units, name in ((1, "value"), (2, "kind")))
    return keras.Model([left, right], [value, kind]).to_json()


@pytest.fixture
def several(bench):
    """Return the sources of a model of two inputs and two outputs, with weights: by names, and in order."""
    x, y = table()
    arrays = {"l": x[:, :3].copy(), "r": x[:, 3:].copy(), "v": x[:, :1].copy(), "k": y, "w": 1.0 + y}
    bench.save("two.npz", **arrays)
    for name, array in arrays.items():
        bench.save(f"{name}.npy", a=array)
    names = {"x": {"right": "r", "left": "l"}, "y": {"kind": "k", "value": "v"}, "sample_weight": {"kind": "w"}}
    order = {"npy": ["l.npy", "r.npy"], "labels": ["v.npy", "k.npy"], "sample_weight": "w.npy"}
    return {"npz": "two.npz", **names}, order


def of_two(source, **changes):
    return {
        "kind": "train",
        "model": {"architecture": two()},
        "data": {"train": source, "validation": {**source, "rows": [0, 100]}, **changes.pop("data", {})},
        "compile": {
            "optimizer": {"Adam": {"learning_rate": 0.01}},
            "loss": {"value": "mse", "kind": {"SparseCategoricalCrossentropy": {"from_logits": True}}},
            "weighted_metrics": {"kind": ["accuracy"]},
        },
        "fit": {"epochs": 2, "batch_size": BATCH},
        **changes,
    }


def in_memory(bench, monkeypatch, job, **changes):
    with monkeypatch.context() as patch:
        patch.setattr(data, "_RESIDENT", 4)
        return bench.finish(job, **changes)


def test_several_arrays_and_weights_are_streamed_as_they_are_kept_in_memory(bench, several, streams, monkeypatch):
    for attempt, source in enumerate(several):
        job = of_two(source, data={"shuffle": False})
        whole, kept = in_memory(bench, monkeypatch, job, attempt=10 * attempt + 1)
        assert not streams
        again, report = bench.finish(job, attempt=10 * attempt + 2)
        assert len(streams) == 2
        assert again.weights_sha256 == whole.weights_sha256
        assert report.epochs == kept.epochs
        streams.clear()


def test_several_arrays_are_measured_and_predicted_as_in_memory(bench, several, streams, monkeypatch):
    model, (source, _) = {"architecture": two()}, several
    compiled = of_two(source)["compile"]
    test = {"kind": "evaluate", "model": model, "data": {"test": source}, "compile": compiled}
    ask = {"kind": "predict", "model": model, "data": {"input": source}}
    kept = [in_memory(bench, monkeypatch, job, attempt=1) for job in (test, ask)]
    streamed = [bench.finish(job, attempt=2) for job in (test, ask)]
    assert len(streams) == 2
    assert streamed[0][0].value == kept[0][0].value
    found = [np.load(bench.volume / report.artifact.file.path) for _, report in (kept[1], streamed[1])]
    for name in ("value", "kind"):
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_cut_anywhere_a_job_of_several_streamed_arrays_goes_on_to_the_same_bits(bench, several, recorder, resumable):
    job = of_two(several[0])
    whole, _ = bench.finish(job)
    for asks in (3, 9, 22, 35):
        released = recorder(stop_at=asks)
        bench.stop(job, released, attempt=10 + asks)
        saved = list(released.checkpoints.values())[-1]
        again, _ = bench.finish(job, attempt=100 + asks, checkpoints=resumable(saved))
        assert again.weights_sha256 == whole.weights_sha256


def test_batches_of_their_own_are_streamed_as_they_are_kept_in_memory(
    bench, several, streams, recorder, resumable, monkeypatch
):
    source = {**several[1], "batches": [[30, 3], [200, 1], [1, 10], [34, 10]]}
    job = of_two(source, data={"validation": {**several[1], "rows": [0, 100], "batches": [[64, 1], [36, 1]]}})
    whole, kept = in_memory(bench, monkeypatch, job)
    assert whole.value["steps"] == 2 * 24
    again, report = bench.finish(job, attempt=2)
    assert len(streams) == 2
    assert again.weights_sha256 == whole.weights_sha256
    assert report.epochs == kept.epochs
    # Before and behind the batch that is longer than a window, while validating, in the second epoch.
    for asks in (2, 4, 7, 25, 40):
        released = recorder(stop_at=asks)
        bench.stop(job, released, attempt=10 + asks)
        saved = list(released.checkpoints.values())[-1]
        again, _ = bench.finish(job, attempt=100 + asks, checkpoints=resumable(saved))
        assert again.weights_sha256 == whole.weights_sha256


def test_streamed_labels_without_a_class_are_named_with_their_output(bench, several):
    bench.save("k.npy", a=np.where(np.arange(ROWS) == 500, 7, table()[1]))
    with pytest.raises(BadData, match=r"Labels of output 'kind' must be .* 0 to 1; found 7 \(row 500\)"):
        bench.run(of_two(several[1]))


def test_weights_of_classes_are_streamed(bench, streams, monkeypatch):
    source, shape = Forms(bench.volume / "data").csv()
    job = spec(source, shape)
    job["data"]["shuffle"] = False
    job["fit"]["class_weight"] = {"1": 3.0}
    whole, kept = in_memory(bench, monkeypatch, job)
    again, report = bench.finish(job, attempt=2)
    assert len(streams) == 2
    assert again.weights_sha256 == whole.weights_sha256
    assert report.epochs == kept.epochs


# --- what cannot be streamed ---


@pytest.mark.parametrize("kind", ["train", "check"])
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            {"npz": "c.npz", "y": None},
            r"c\.npz is compressed .* \(save it with numpy\.savez, in C.* takes 40 MB, .* room for 32 MB .* to 80",
        ),
        ({"npy": "f.npy"}, r"f\.npy is compressed or in Fortran order.*numpy\.save,.* takes 40 MB"),
        ({"dataset": "cifar10"}, r"The data set cifar10 is kept in memory whole\. It takes \d+ MB"),
    ],
)
def test_what_has_no_room_and_cannot_be_streamed_is_refused_unread(bench, monkeypatch, kind, source, sentence):
    (bench.volume / "data").mkdir()
    rows = np.zeros((1280, 8192), np.float32)
    np.savez_compressed(bench.volume / "data" / "c.npz", x=rows)
    np.save(bench.volume / "data" / "f.npy", np.asfortranarray(rows))
    monkeypatch.setattr(arrays, "_values", lambda *_: pytest.fail("read"))
    job = spec(source, [8192])
    job["resources"] = {"memory_mb": 64}
    with pytest.raises(BadData, match=sentence):
        bench.run(job, kind=kind)
