"""A job goes on with the data that it began with, or says why it does not."""

import gzip
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import BadData, CheckpointCorrupt
from worker.training.seals import Seals
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place

X = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
Y = np.arange(40) % 10
#: As many rows and bytes, other numbers.
OTHER = X[::-1].copy()


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(file, "BMP")
    return file.getvalue()


def fashion(folder: Path, shift: int) -> None:
    """Write a Fashion-MNIST of forty images in gzip files that compress nothing: all have the same size."""
    (folder / "fashion-mnist").mkdir(parents=True, exist_ok=True)
    labels, images = bytes(8) + bytes(Y.astype(np.uint8)), np.arange(40 * 784)
    for part, moved in (("train", shift), ("t10k", 0)):
        pixels = bytes(16) + ((images + moved) % 251).astype(np.uint8).tobytes()
        for name, content in (("labels-idx1", labels), ("images-idx3", pixels)):
            with gzip.GzipFile(folder / "fashion-mnist" / f"{part}-{name}-ubyte.gz", "wb", 0, mtime=0) as file:
                file.write(content)


class Forms:
    """How each form of data is written, once as it is first and once with as many other rows."""

    def __init__(self, bench):
        self.bench = bench

    def npy(self, x):
        labels = self.bench.save("y.npy", y=Y)
        return {"npy": self.bench.save("x.npy", x=x), "labels": labels}, "x.npy"

    def labels(self, x):
        other = Y if x is X else Y[::-1]
        return {"npy": self.bench.save("x.npy", x=X), "labels": self.bench.save("y.npy", y=other)}, "y.npy"

    def npz(self, x):
        return {"npz": self.bench.save("d.npz", x=x, y=Y)}, "d.npz"

    def csv(self, x):
        path = self.bench.volume / "data" / "d.csv"
        path.parent.mkdir(exist_ok=True)
        names = ",".join(f"c{n}" for n in range(x.shape[1]))
        rows = [",".join(f"{v:+.3f}" for v in row) + f",{k}" for row, k in zip(x, Y, strict=True)]
        path.write_text("\n".join([f"{names},label", *rows]))
        return {"csv": "d.csv", "label": "label"}, "d.csv"

    def images(self, x):
        for number, label in enumerate(Y):
            path = self.bench.volume / "data" / "shades" / str(label) / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number if x is X else 255 - number))
        return {"images": "shades", "image_size": [8, 8], "color": "grayscale"}, "shades"

    def dataset(self, x):
        fashion(self.bench.volume / "sets", 0 if x is X else 1)
        return {"dataset": "fashion_mnist"}, "fashion-mnist/train-images-idx3-ubyte.gz"


SHAPES = {"images": [8, 8, 1], "dataset": [28, 28]}


def job(train, source, form, **changes):
    data = {"train": source, "validation": None, "scale": 0.1}
    return train(
        model={"input_shape": SHAPES.get(form, [64])}, data=data, fit={"epochs": 2, "batch_size": 16}, **changes
    )


@pytest.mark.parametrize("form", ["npy", "labels", "npz", "csv", "images", "dataset"])
def test_a_file_that_was_changed_between_two_attempts_is_refused_and_named(bench, train, resumable, form):
    write = getattr(Forms(bench), form)
    datasets = str(bench.volume / "sets")
    source, label = write(X)
    spec = job(train, source, form)
    whole, report = bench.finish(spec, datasets=datasets)
    saved = resumable(report.checkpoints["epoch-0"])
    write(OTHER)
    with pytest.raises(BadData, match=rf"^{label} was changed after the job had begun: .* Put it back .* or submit"):
        bench.finish(spec, attempt=2, checkpoints=saved, datasets=datasets)
    # Put back, with other times: the retried job goes on as if nothing had been.
    write(X)
    again, second = bench.finish(spec, attempt=3, checkpoints=saved, datasets=datasets)
    assert second.resumed.epoch == 1
    assert again.weights_sha256 == whole.weights_sha256


def test_nothing_counts_before_the_change_is_found(bench, train, resumable, recorder):
    source, _ = Forms(bench).npy(X)
    spec = job(train, source, "npy")
    _, first = bench.finish(spec)
    Forms(bench).npy(OTHER)
    report = recorder()
    with pytest.raises(BadData, match="its SHA-256 was"):
        bench.run(spec, report, attempt=2, checkpoints=resumable(first.checkpoints["epoch-0"]))
    assert not report.epochs
    assert not report.checkpoints


def test_what_is_validated_on_is_sealed_too(bench, train, resumable):
    bench.save("v.npz", x=X, y=Y)
    bench.save("t.npz", x=X, y=Y)
    spec = train(
        model={"input_shape": [64]}, data={"train": {"npz": "t.npz"}, "validation": {"npz": "v.npz"}}, fit={"epochs": 2}
    )
    _, report = bench.finish(spec)
    bench.save("v.npz", x=OTHER, y=Y)
    with pytest.raises(BadData, match=r"^v\.npz was changed"):
        bench.finish(spec, attempt=2, checkpoints=resumable(report.checkpoints["epoch-0"]))


def test_a_file_of_another_size_is_refused_before_the_first_step(bench, train, resumable, recorder):
    source, _ = Forms(bench).npy(X)
    spec = job(train, source, "npy")
    _, first = bench.finish(spec)
    bench.save("x.npy", x=OTHER.astype(np.float64))
    report = recorder()
    with pytest.raises(BadData, match="it had 10,368 bytes and has 20,608 now"):
        bench.run(spec, report, attempt=2, checkpoints=resumable(first.checkpoints["epoch-0"]))
    assert "training" not in report.phases


def test_times_that_were_put_back_hide_no_change(bench, train, resumable):
    source, _ = Forms(bench).npy(X)
    spec = job(train, source, "npy")
    _, first = bench.finish(spec)
    path = bench.volume / "data" / "x.npy"
    before = path.stat()
    Forms(bench).npy(OTHER)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BadData, match=r"x\.npy was changed"):
        bench.finish(spec, attempt=2, checkpoints=resumable(first.checkpoints["epoch-0"]))


def test_a_file_that_was_only_touched_or_copied_goes_on(bench, train, resumable):
    source, _ = Forms(bench).npy(X)
    spec = job(train, source, "npy")
    whole, report = bench.finish(spec)
    path = bench.volume / "data" / "x.npy"
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    os.utime(path.with_name("y.npy"))
    saved = resumable(report.checkpoints["epoch-0"])
    again, second = bench.finish(spec, attempt=2, checkpoints=saved)
    assert again.weights_sha256 == whole.weights_sha256
    assert second.resumed.epoch == 1


def an_ended_job(bench, train, resumable):
    """Train two epochs to the end; return the spec with a third, and what its `resume` begins with."""
    spec = job(train, Forms(bench).npy(X)[0], "npy")
    _, report = bench.finish(spec)
    (last,) = resumable(report.checkpoints["epoch-1"])
    spec["fit"]["epochs"] = 3
    return spec, (replace(last, inherited=True),)


def test_an_ended_job_is_resumed_with_its_own_data_only(bench, train, recorder, resumable):
    longer, saved = an_ended_job(bench, train, resumable)
    Forms(bench).npy(OTHER)
    report = recorder()
    with pytest.raises(BadData, match=r"^x\.npy was changed after the job had begun: its SHA-256 was .* Put it back"):
        bench.run(longer, report, attempt=2, checkpoints=saved)
    assert not report.epochs
    assert not report.checkpoints
    # Put back, with other times: the retried job goes on as if it had been one job all the time.
    Forms(bench).npy(X)
    more, second = bench.finish(longer, attempt=3, checkpoints=saved)
    whole, _ = bench.finish(longer, attempt=4)
    assert list(second.epochs) == [2]
    assert more.weights_sha256 == whole.weights_sha256


def test_an_ended_job_is_not_resumed_with_more_rows(bench, train, resumable):
    longer, saved = an_ended_job(bench, train, resumable)
    bench.save("x.npy", x=np.concatenate([X, OTHER]))
    bench.save("y.npy", y=np.concatenate([Y, Y]))
    with pytest.raises(BadData, match=r"^x\.npy was changed after the job had begun: it had 10,368 bytes"):
        bench.finish(longer, attempt=2, checkpoints=saved)


# --- one file ---


@pytest.fixture
def path(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_bytes(b"12345")
    return tmp_path / "data" / "x"


def opened(path):
    where = Place(path.parent.parent, None, 1.0, 1 << 20)
    where.open("x")
    return Seals(where.contents)


def sealed(path):
    """Return a file's seal as a checkpoint holds it when there was time to take it."""
    seals = opened(path)
    seals.start().join(10)
    return seals.state()


def test_a_seal_is_the_files_sha256(path):
    assert sealed(path)["x"]["sha256"] == "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"


def test_where_nothing_can_be_told_the_checkpoint_is_passed_over(path):
    early = opened(path).state()
    assert early["x"]["sha256"] is None
    opened(path).compare(early)
    os.utime(path, ns=(1, 1))
    with pytest.raises(CheckpointCorrupt, match="x was touched"):
        opened(path).compare(early)


def test_a_file_that_nobody_touched_is_not_read_again(path):
    saved = sealed(path)
    saved["x"]["sha256"] = "as it was"
    seals = opened(path)
    seals.compare(saved)
    seals.start().join(10)
    assert seals.settled(0)
    assert seals.state() == saved


def test_a_file_that_is_written_to_while_it_is_read_is_found_out(path):
    with path.open("rb") as file:
        held = DataFile("x", file)
    assert held.at(0, 5) == b"12345"
    path.write_bytes(b"67890")
    with pytest.raises(BadData, match="x was written to while the job read it"):
        held.at(0, 5)
