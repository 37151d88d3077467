"""Data from everywhere, and data that nobody should trust."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import urllib.error
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from shared.errors import BadData, BadSpec
from shared.sources.arrays import DatasetSource
from shared.spec import PredictSpec, TrainSpec, parse
from worker.training import data, datasets
from worker.training.sources.place import Place

LAYERS = {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]}


@pytest.fixture
def load(bench):
    """Load a training source, as a job with 64 MB would, or with more where it is a whole data set."""

    def read(source, *, labels=True, scale=None, one_hot=None, folder=None):
        spec = TrainSpec.model_validate({"model": LAYERS, "data": {"train": source}, "compile": {"loss": "mse"}})
        where = Place(bench.volume, folder, 1.0, (2048 if "dataset" in source else 64) << 20)
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
    (train, test) = (
        datasets.load(DatasetSource(dataset="digits", split=split), None, 1.0) for split in ("train", "test")
    )
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


@pytest.fixture
def any_content(monkeypatch):
    """Let Keras take files that are not the ones whose SHA-256 it knows: the real ones are too large for a test."""
    monkeypatch.setattr(file_utils, "validate_file", lambda *_, **__: True)


def arrays(folder: Path, name: str, **members: np.ndarray) -> None:
    np.savez(folder / name, **members)


def texts(*lengths: int) -> np.ndarray:
    """Return texts of these lengths: the numbers from 1 on."""
    found = np.empty(len(lengths), object)
    found[:] = [list(range(1, 1 + length)) for length in lengths]
    return found


@pytest.mark.parametrize(
    ("name", "sample", "rows"),
    [("boston_housing", 13, (8, 2)), ("california_housing", 8, (8, 2)), ("mnist", 28, (3, 2))],
)
def test_data_sets_in_npz_files(tmp_path, load, offline, any_content, name, sample, rows):
    if name == "mnist":
        parts = zip(("train", "test"), rows, strict=True)
        members = {f"{a}_{part}": n for part, n in parts for a in "xy"}
        made = {key: np.ones((n, 28, 28) if key[0] == "x" else n, np.uint8) for key, n in members.items()}
    else:
        made = {"x": np.ones((10, sample)), "y": np.arange(10.0)}
    arrays(tmp_path, f"{name}.npz", **made)
    for split, count in zip(("train", "test"), rows, strict=True):
        samples = load({"dataset": name, "split": split}, folder=tmp_path)
        assert (len(samples.x), samples.x.shape[-1], len(samples.y)) == (count, sample, count)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_data_sets_in_archives(tmp_path, load, offline, any_content, name):
    inner = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    files = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"] if name == "cifar10" else ["train", "test"]
    pixels = np.zeros((10_000, 3072), np.uint8)
    pixels[1] = 7
    batch = pickle.dumps({b"data": pixels, b"labels": [3] * 10_000, b"fine_labels": [3] * 10_000})
    archive = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}[name]
    with tarfile.open(tmp_path / archive, "w:gz", compresslevel=1) as file:
        for one in files:
            info = tarfile.TarInfo(f"{inner}/{one}")
            info.size = len(batch)
            file.addfile(info, io.BytesIO(batch))
    samples = load({"dataset": name, "split": "test", "rows": [0, 5]}, folder=tmp_path)
    assert samples.x.shape == (5, 32, 32, 3)
    assert samples.x[1].min() == 7
    assert samples.y.tolist() == [[3]] * 5
    assert [path.name for path in tmp_path.iterdir()] == [archive]


def test_texts_are_padded_and_cut_as_keras_pads_them(tmp_path, load, offline, any_content):
    labels = np.arange(10)
    lengths = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    arrays(tmp_path, "imdb.npz", x_train=texts(*lengths), y_train=labels, x_test=texts(3, 9), y_test=labels[:2])
    arrays(tmp_path, "reuters.npz", x=texts(*lengths), y=labels)
    # As Keras gives them: 1 is where a text begins, each word's number is three more, and the rarest word is 2.
    samples = load({"dataset": "imdb", "maxlen": 5}, folder=tmp_path)
    by_label = {int(label): row.tolist() for row, label in zip(samples.x, samples.y, strict=True)}
    assert (by_label[0], by_label[9]) == ([0, 0, 0, 1, 4], [9, 10, 11, 12, 2])
    behind = {"num_words": 8, "padding": "post", "truncating": "post"}
    samples = load({"dataset": "imdb", "maxlen": 6, **behind}, folder=tmp_path)
    by_label = {int(label): row.tolist() for row, label in zip(samples.x, samples.y, strict=True)}
    assert (by_label[0], by_label[9]) == ([1, 4, 0, 0, 0, 0], [1, 4, 5, 6, 7, 2])
    for split, rows in (("train", 8), ("test", 2)):
        samples = load({"dataset": "reuters", "split": split, "maxlen": 4}, folder=tmp_path)
        assert (samples.x.shape, samples.x.dtype) == ((rows, 4), np.int32)


def test_a_text_is_learned_from_and_asked_for(bench, train, offline, any_content):
    folder = bench.volume / "sets"
    folder.mkdir()
    found = np.empty(64, object)
    found[:] = [[5 + n % 2] * (1 + n % 7) for n in range(64)]
    labels = np.arange(64) % 2
    arrays(folder, "imdb.npz", x_train=found, y_train=labels, x_test=found, y_test=labels)
    source = {"dataset": "imdb", "maxlen": 8, "num_words": 20}
    layers = [
        {"Embedding": {"input_dim": 20, "output_dim": 4}},
        {"GlobalAveragePooling1D": {}},
        {"Dense": {"units": 2}},
    ]
    spec = train(
        model={"layers": layers, "input_shape": [8]},
        data={"train": source, "validation": {**source, "split": "test"}, "scale": None},
        compile={"optimizer": {"Adam": {"learning_rate": 0.1}}},
        fit={"epochs": 5},
    )
    _, report = bench.finish(spec, datasets=str(folder))
    assert report.epochs[4]["val_accuracy"] == 1.0
    checked, _ = bench.finish(spec, kind="check", datasets=str(folder))
    assert checked.value["samples"] == 25_000


def test_texts_that_take_more_to_load_than_the_job_has_are_refused(bench, train, offline):
    spec = train(data={"train": {"dataset": "imdb", "maxlen": 8}}, resources={"memory_mb": 1024})
    with pytest.raises(BadData, match=r"imdb is kept in memory whole.* set it to 1200 at least"):
        bench.run(spec)


def test_a_pickle_in_a_data_set_is_not_run(tmp_path, load, offline, any_content):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    harm = np.empty(1, object)
    harm[0] = Harm()
    arrays(tmp_path, "imdb.npz", x_train=harm, y_train=np.zeros(1), x_test=harm, y_test=np.zeros(1))
    with pytest.raises(BadData, match="imdb cannot be loaded"):
        load({"dataset": "imdb", "maxlen": 4}, folder=tmp_path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"dataset": "imdb"}, "imdb holds texts of different lengths; give maxlen, to which each is cut or filled up"),
        ({"dataset": "mnist", "num_words": 10}, "num_words is for texts; mnist holds none"),
        ({"dataset": "reuters", "maxlen": 0}, "greater than or equal to 1"),
    ],
)
def test_options_of_texts_are_checked_at_the_door(train, source, sentence):
    with pytest.raises(BadSpec) as refused:
        parse(train(data={"train": source}))
    assert any(sentence in one.message for one in refused.value.fields)


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
