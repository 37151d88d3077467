"""Data sets by name: those of `keras.datasets`, and scikit-learn's digits."""

import gzip
import importlib.util
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend import config as keras_config

from shared.errors import BadData
from shared.sources.arrays import TEXTS, DatasetSource

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Known:
    """What is known of a data set without having it: the shape of one sample, its type, the rows of each part."""

    sample: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: dict[str, int]
    #: What Keras takes while it loads it, MB, where that is much more than the arrays.
    peak_mb: int = 0


def _known(sample: tuple[int, ...], dtype: str, train: int, test: int, peak_mb: int = 0) -> Known:
    return Known(sample, np.dtype(dtype), {"train": train, "test": test}, peak_mb)


KNOWN = {
    "boston_housing": _known((13,), "float64", 404, 102),
    "california_housing": _known((8,), "float32", 16512, 4128),
    "cifar10": _known((32, 32, 3), "uint8", 50_000, 10_000),
    "cifar100": _known((32, 32, 3), "uint8", 50_000, 10_000),
    "digits": _known((8, 8), "float64", 1437, 360),
    "fashion_mnist": _known((28, 28), "uint8", 60_000, 10_000),
    "imdb": _known((), "int32", 25_000, 25_000, peak_mb=1200),
    "mnist": _known((28, 28), "uint8", 60_000, 10_000),
    "reuters": _known((), "int32", 8982, 2246),
}

_FASHION = tuple(f"fashion-mnist/{part}-ubyte.gz" for part in ("train-labels-idx1", "train-images-idx3"))
_FASHION += tuple(f"fashion-mnist/{part}-ubyte.gz" for part in ("t10k-labels-idx1", "t10k-images-idx3"))
#: Where Keras looks for each data set's files, below its `datasets` folder; the last name may also stand for the first.
_FILES: dict[str, tuple[tuple[str, ...], ...]] = {
    "boston_housing": (("boston_housing.npz",),),
    "california_housing": (("california_housing.npz",),),
    "cifar10": (("cifar-10-batches-py-target_archive", "cifar-10-python.tar.gz"),),
    "cifar100": (("cifar-100-python-target_archive", "cifar-100-python.tar.gz"),),
    "fashion_mnist": tuple((name,) for name in _FASHION),
    "imdb": (("imdb.npz",),),
    "mnist": (("mnist.npz",),),
    "reuters": (("reuters.npz",),),
}


def load(source: DatasetSource, folder: Path | None, timeout_s: float) -> Arrays:
    """Return x and y of one part of a data set; texts cut and filled up to one length.

    Files are taken from `folder` (laid out as `~/.keras/datasets`) when it holds them, else from Keras's
    own cache, else downloaded. Raise `BadData` with the remedy when they cannot be had.
    """
    name = source.dataset
    chosen = {"num_words": source.num_words} if name in TEXTS else {}
    train, test = _digits() if name == "digits" else _from_keras(name, folder, timeout_s, **chosen)
    x, y = train if source.split == "train" else test
    return (x if source.maxlen is None else _padded(x, source)), y


def _padded(texts: Any, source: DatasetSource) -> np.ndarray:
    """Return sequences of numbers as rows of one length, as Keras's users pad them."""
    padded: np.ndarray = keras.utils.pad_sequences(
        texts, source.maxlen, padding=source.padding or "pre", truncating=source.truncating or "pre"
    )
    return padded


def is_local(name: str, folder: Path | None) -> bool:
    """Whether a data set needs no download."""
    if name == "digits":
        return True
    return bool(files(name, folder))


def files(name: str, folder: Path | None) -> dict[str, Path]:
    """Return the files that a data set is read from, by Keras's names of them; empty when it must be downloaded.

    The digits, which come with scikit-learn, have none.
    """
    home = Path(keras_config.keras_home()).expanduser() / "datasets"
    return _found(name, folder) or _found(name, home)


def _digits() -> tuple[Arrays, Arrays]:
    """Return scikit-learn's `load_digits`: (1797, 8, 8) float images from 0 to 16, the last 20 % (360) as test part.

    The file is read without importing scikit-learn, which takes a second.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise BadData("The digits are scikit-learn's, which this worker does not have: install scikit-learn.")
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    rows = KNOWN["digits"].rows["train"]
    return (images[:rows], labels[:rows]), (images[rows:], labels[rows:])


def _from_keras(name: str, folder: Path | None, timeout_s: float, **chosen: Any) -> tuple[Arrays, Arrays]:
    loader = getattr(keras.datasets, name)
    try:
        with _keras_home(_found(name, folder)), _timeout(timeout_s):
            train, test = loader.load_data(**chosen)
    except Exception as error:
        raise BadData(
            f"The data set {name} cannot be loaded ({str(error)[:200]}). Set FITQ_DATASETS to a folder that holds "
            f"{', '.join(names[0] for names in _FILES[name])}, as ~/.keras/datasets does."
        ) from error
    return train, test


def _found(name: str, folder: Path | None) -> dict[str, Path]:
    """Return the files of a data set in `folder` by the name that Keras gives them; empty when one is missing."""
    if folder is None:
        return {}
    found = {}
    for names in _FILES.get(name, ()):
        there = next((folder / one for one in names if (folder / one).is_file()), None)
        if there is None:
            return {}
        found[names[0]] = there.resolve()
    return found


@contextmanager
def _keras_home(files: dict[str, Path]) -> Iterator[None]:
    """Let Keras find `files` in a temporary home of links.

    Links, because Keras extracts archives beside themselves, and removes a file whose download failed:
    the folder may be read-only and its files are not ours.
    """
    if not files:
        yield
        return
    before = keras_config._KERAS_DIR  # noqa: SLF001 - Keras has no setter for it
    with tempfile.TemporaryDirectory(prefix="fitq-datasets-") as home:
        for name, path in files.items():
            link = Path(home) / "datasets" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        keras_config._KERAS_DIR = home  # noqa: SLF001
        try:
            yield
        finally:
            keras_config._KERAS_DIR = before  # noqa: SLF001


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give up on a server that says nothing for so long."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
