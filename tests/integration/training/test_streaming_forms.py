"""Each form of data that is streamed: cut anywhere, a job goes on to the bits of an undisturbed one."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import parquet as pq

from worker.training import data, engine

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
