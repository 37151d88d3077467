"""Data from everywhere, and data that nobody should trust."""

import gzip
import io
import os
import struct
import urllib.error
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from shared.errors import BadData
from shared.spec import PredictSpec, TrainSpec
from worker.training import data, datasets
from worker.training.sources.place import Place

LAYERS = {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]}


@pytest.fixture
def load(bench):
    """Load a training source, as a job with 64 MB would, or with more where it is a whole data set."""

    def read(source, *, labels=True, scale=None, one_hot=None, folder=None):
        spec = TrainSpec.model_validate({"model": LAYERS, "data": {"train": source}, "compile": {"loss": "mse"}})
        where = Place(bench.volume, folder, 1.0, (1024 if "dataset" in source else 64) << 20)
        return data.load(spec.data.train, where, labels=labels, scale=scale, one_hot=one_hot)

    return read


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """Return an `.npy` file with a header of one's own."""
    text = header.encode().ljust(64)
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + body


def described(shape: str, dtype: str = "'<f8'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}}}"


@pytest.fixture
def put(bench):
    """Put bytes below the volume's data folder."""

    def write(name: str, content: bytes) -> str:
        (bench.volume / "data").mkdir(exist_ok=True)
        (bench.volume / "data" / name).write_bytes(content)
        return name

    return write


# --- sources ---


def test_digits_are_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    (train, test) = (datasets.load("digits", split, None, 1.0) for split in ("train", "test"))
    x, y = sklearn.load_digits(return_X_y=True)
    np.testing.assert_array_equal(np.concatenate([train[0], test[0]]), x.reshape(-1, 8, 8))
    np.testing.assert_array_equal(np.concatenate([train[1], test[1]]), y)
    assert len(test[0]) == 360


def test_inline_arrays_are_float32_and_integers(load):
    samples = load({"x": [[1.5, 2.0], [3.0, 4.0]], "y": [0, 1]})
    assert (samples.x.dtype, samples.y.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">i2", "|u1", "|b1", "<f2"])
def test_npy_files_are_read(bench, load, dtype, order):
    x = np.asarray([[0, 1], [1, 0], [1, 1]], dtype=dtype, order=order)
    labels = bench.save("labels.npy", y=np.arange(3))
    samples = load({"npy": bench.save("x.npy", x=x), "labels": labels})
    np.testing.assert_array_equal(samples.x, x)
    assert samples.x.dtype.isnative
    np.testing.assert_array_equal(samples.y, [0, 1, 2])


def test_npz_members_are_read_by_name(bench, load):
    path = bench.save("d.npz", images=np.ones((4, 2)), kind=np.arange(4), x=np.zeros((9, 9)))
    samples = load({"npz": path, "x": "images", "y": "kind", "rows": [1, 3]})
    assert samples.x.shape == (2, 2)
    np.testing.assert_array_equal(samples.y, [1, 2])


def test_labels_that_nobody_needs_are_not_looked_for(bench, load):
    path = bench.save("d.npz", x=np.ones((4, 2)))
    assert load({"npz": path}, labels=False).y is None


def test_scaling_gives_the_bits_that_numpy_gives(bench, load):
    x = np.arange(256, dtype=np.uint8).reshape(128, 2)
    path = bench.save("d.npz", x=x, y=np.zeros(128))
    samples = load({"npz": path}, scale=1 / 255)
    np.testing.assert_array_equal(samples.x, (x * (1 / 255)).astype(np.float32))
    assert load({"npz": path}).x.dtype == np.uint8


def test_one_hot_rows(load):
    samples = load({"x": [[1.0], [2.0]], "y": [2, 0]}, one_hot=3)
    np.testing.assert_array_equal(samples.y, [[0, 0, 1], [1, 0, 0]])
    assert samples.y.dtype == np.float32


def test_the_split_takes_the_last_rows_as_keras_does(load):
    train, validation = data.split(load({"x": [[n] for n in range(10)], "y": list(range(10))}), 0.25)
    assert (train.x[:, 0].tolist(), validation.x[:, 0].tolist()) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])


# --- named data sets ---


def write_fashion(folder: Path) -> None:
    """Write a Fashion-MNIST of three images."""
    (folder / "fashion-mnist").mkdir(parents=True)
    images, labels = bytes(16) + bytes(range(3 * 28 * 28 % 256)) + bytes(3 * 28 * 28 - 48), bytes(8) + bytes([1, 2, 3])
    for part in ("train", "t10k"):
        for name, content in (("labels-idx1", labels), ("images-idx3", images)):
            with gzip.open(folder / "fashion-mnist" / f"{part}-{name}-ubyte.gz", "wb") as file:
                file.write(content)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_: object) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(file_utils, "urlretrieve", refuse)


def test_a_folder_of_data_sets_is_used_without_network(tmp_path, load, offline):
    write_fashion(tmp_path / "sets")
    samples = load({"dataset": "fashion_mnist"}, folder=tmp_path / "sets")
    assert samples.x.shape == (3, 28, 28)
    assert samples.y.tolist() == [1, 2, 3]


def test_a_download_that_fails_names_the_remedy(load, offline, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.keras_config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(BadData, match=r"Set FITQ_DATASETS to a folder that holds mnist\.npz"):
        load({"dataset": "mnist"})


def test_a_wrong_file_of_the_users_is_left_alone(load, offline, tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"not MNIST")
    with pytest.raises(BadData, match="mnist cannot be loaded"):
        load({"dataset": "mnist"}, folder=tmp_path)
    assert (tmp_path / "mnist.npz").read_bytes() == b"not MNIST"


@pytest.mark.skipif("FITQ_DATASETS" not in os.environ, reason="FITQ_DATASETS is not set")
def test_the_real_fashion_mnist(load):
    folder = Path(os.environ["FITQ_DATASETS"])
    samples = data.load(
        PredictSpec.model_validate({"model": LAYERS, "data": {"input": {"dataset": "fashion_mnist"}}}).data.input,
        Place(folder, folder, 1.0, 1 << 30),
        labels=True,
        scale=1 / 255,
        one_hot=None,
    )
    assert samples.x.shape == (60000, 28, 28)
    assert samples.x.mean() == pytest.approx(0.28604, abs=1e-4)


# --- bad data ---


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"x": [[1.0], [2.0]], "y": [1]}, "x has 2 rows and y has 1"),
        ({"x": [[1.0], [2.0]]}, "no labels"),
        ({"x": [[1.0], [2.0]], "y": [1, 2], "rows": [1, 3]}, "reach beyond the source, which has 2 rows"),
        ({"x": [[10**30], [2]], "y": [1, 2]}, "not numbers of at most 64 bits"),
        ({"npz": "missing.npz"}, "no file 'missing.npz'"),
        ({"npz": "../outside.npz"}, "relative path"),
    ],
)
def test_sources_that_cannot_be(bench, load, source, sentence):
    (bench.volume / "data").mkdir()
    with pytest.raises(BadData, match=sentence):
        load(source)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [([0, 3], r"0 to 2; found 3 \(row 1\)"), ([-1, 0], "found -1"), ([0.5, 0], "found 0.5")],
)
def test_labels_without_a_class_are_named(load, labels, sentence):
    with pytest.raises(BadData, match=sentence):
        load({"x": [[1.0], [2.0]], "y": labels}, one_hot=3)


def test_labels_without_an_output_are_named_before_training(bench, train):
    spec = train(data={"train": {"x": [[[1.0] * 8] * 8] * 4, "y": [0, 9, 10, 1]}, "validation": None})
    with pytest.raises(BadData, match=r"0 to 9; found 10 \(row 2\)"):
        bench.run(spec)


def test_labels_that_are_nan_are_named(bench, load):
    path = bench.save("d.npz", x=np.ones((3, 2)), y=np.array([0.0, np.nan, 1.0]))
    with pytest.raises(BadData, match="label of row 1"):
        load({"npz": path})


def test_a_split_that_leaves_nothing(load):
    with pytest.raises(BadData, match="one part would be empty"):
        data.split(load({"x": [[1.0], [2.0]], "y": [1, 2]}), 0.9)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no readable .npy"),
        (b"PK\x03\x04", "no readable .npy"),
        (npy(described("(2,)"), bytes(8)), "truncated: shape .2,. of float64 takes 16 bytes, 8 are there"),
        (npy(described("(2,)"), bytes(24)), "longer than it says"),
        (npy(described("(10000000000000,)"), bytes(8)), "truncated"),
        (npy(described("(99999999999, 99999999999, 99999999999)"), bytes(8)), "truncated"),
        (npy(described("(-2,)"), bytes(16)), "first axis must count the rows"),
        (npy(described("()"), bytes(8)), "first axis must count the rows"),
        (npy(described("(0, 5)")), "is empty"),
        (npy(described("(1,)", "'|O'"), bytes(8)), "only booleans, integers and floats"),
        (npy(described("(1,)", "[('a', '<f8')]"), bytes(8)), "only booleans, integers and floats"),
        (npy(described("(1,)", "'<U2'"), bytes(8)), "only booleans, integers and floats"),
        (npy(described("(1,)", "'<c16'"), bytes(16)), "only booleans, integers and floats"),
        (npy(described("(1,)", "'<M8[s]'"), bytes(8)), "only booleans, integers and floats"),
        (npy(described("(1,)", "'<f16'"), bytes(16)), "only booleans, integers and floats"),
        (npy(described("__import__('os')"), bytes(8)), "no readable .npy"),
        (npy("{" * 60, bytes(8)), "no readable .npy"),
        (npy(described("(1,)"), bytes(8), version=b"\x09\x00"), "version 9.0"),
        (npy(described("(1,)"), bytes(8), version=b"\x03\x00"), "version 3.0"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b" " * 60000, "no readable .npy"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 4 << 20) + b" " * (4 << 20), "no readable .npy"),
    ],
)
def test_hostile_npy_files_are_refused(load, put, content, sentence):
    with pytest.raises(BadData, match=sentence):
        load({"npy": put("x.npy", content)}, labels=False)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


SOUND = npy(described("(2,)"), bytes(16))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: b"", "no readable .npz"),
        (lambda: zipped(("x.npy", SOUND))[:-30], "no readable .npz"),
        (lambda: zipped(("y.npy", SOUND)), "has no array 'x'; it holds 'y'"),
        (zipped, "it holds nothing"),
        (lambda: zipped(("x.npy", SOUND), ("x.npy", SOUND)), "holds 'x' 2 times"),
        (lambda: zipped(("x.npy", SOUND), ("x", SOUND)), "holds 'x' 2 times"),
        (lambda: zipped(("x.npy", zipped(("x.npy", SOUND)))), "no readable .npy"),
        (lambda: zipped(("x.npy", b"cos\nsystem\n(S'true'\ntR.")), "no readable .npy"),
        (lambda: zipped(("x.npy", npy(described("(1,)", "'|O'"), bytes(8)))), "only booleans"),
        (lambda: zipped(("x.npy", SOUND[:-8])), "truncated"),
        (lambda: zipped(("x.npy", SOUND)).replace(SOUND, SOUND[:-1] + b"\x01"), "no readable .npz file: Bad CRC"),
        (lambda: zipped(*((f"{n}.npy", b"") for n in range(10_001))), "at most 10000"),
        (
            lambda: zipped(
                ("x.npy", npy(described("(100, 1048576)", "'|u1'"), bytes(100 << 20))), method=zipfile.ZIP_DEFLATED
            ),
            "x.npz is compressed .* takes 100 MB, .* has room for 32 MB of such data: set it to 200 at least",
        ),
    ],
)
def test_hostile_npz_files_are_refused(load, put, content, sentence):
    with pytest.raises(BadData, match=sentence):
        load({"npz": put("x.npz", content())}, labels=False)


def test_an_encrypted_npz_is_refused(load, put):
    content = bytearray(zipped(("x.npy", SOUND)))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadData, match="encrypted"):
        load({"npz": put("x.npz", bytes(content))}, labels=False)


def test_a_link_is_not_followed(bench, load, tmp_path):
    (bench.volume / "data").mkdir(exist_ok=True)
    (tmp_path / "secret.npy").write_bytes(SOUND)
    (bench.volume / "data" / "x.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(BadData, match="link"):
        load({"npy": "x.npy"}, labels=False)


def test_keras_home_is_as_before(tmp_path, load, offline):
    before = keras.src.backend.config.keras_home()
    write_fashion(tmp_path / "sets")
    load({"dataset": "fashion_mnist"}, folder=tmp_path / "sets")
    assert keras.src.backend.config.keras_home() == before
