"""What a command line calls a model or data, turned into the part of a job. Pure, but for asking which files exist."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fitq import specfile
from fitq.errors import BadSpecFile
from fitq.localfiles import PREFIX, TEXT_BYTES, compact

#: The kind of source that a file's ending stands for.
_KINDS = {
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".zip": "images",
}
#: What each kind of source takes beside its file.
_TAKES = {
    "dataset": frozenset({"rows"}),
    "npz": frozenset({"rows", "x", "y"}),
    "npy": frozenset({"rows", "labels"}),
    "csv": frozenset({"rows", "label", "columns"}),
    "parquet": frozenset({"rows", "label", "columns"}),
    "tfrecord": frozenset({"label", "features"}),
    "images": frozenset({"image_size"}),
}
_KIND = re.compile(rf"({'|'.join(kind for kind in _TAKES if kind != 'dataset')})=(.+)", re.DOTALL)
_DATASET = re.compile(r"([a-z][a-z0-9_]*)(?::(train|test))?")
#: Endings of files that hold a whole model.
_WHOLE = frozenset({".keras", ".h5", ".hdf5"})
#: Endings of files that describe a model.
_DESCRIBED = frozenset({".json", ".yaml", ".yml"})


def source(
    text: str, more: Mapping[str, Any], say: Callable[[str], None], shared: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the source that `text` names: a data set, a file of this machine, or one on the server.

    `more` is what else the command line says of it; what it does not take raises ValueError. `shared` is
    said of other data as well, and left out where this does not take it. `say` is told when a name is
    taken for the server's.
    """
    kind, value = _named(text, say)
    if kind == "dataset":
        name, _, split = value.partition(":")
        made: dict[str, Any] = {"dataset": name} | ({"split": split} if split else {})
    else:
        made = {kind: value}
    for key in more:
        if key not in _TAKES[kind]:
            raise ValueError(f"--{key.replace('_', '-')} says nothing of {_WORDS[kind]}")
    return {**made, **{key: value for key, value in (shared or {}).items() if key in _TAKES[kind]}, **more}


#: What messages call each kind of source.
_WORDS = {
    "dataset": "a data set by name",
    "npz": "an .npz file",
    "npy": "an .npy file",
    "csv": "a CSV file",
    "parquet": "a Parquet file",
    "tfrecord": "a TFRecord file",
    "images": "a folder of images",
}


def _named(text: str, say: Callable[[str], None]) -> tuple[str, str]:
    explicit = _KIND.fullmatch(text)
    kind, name = (explicit[1], explicit[2]) if explicit else (None, text)
    path = Path(name.removeprefix(PREFIX)).expanduser()
    if name.startswith(PREFIX) and not path.exists():
        raise ValueError(f"there is no file '{path}' on this machine")
    if kind is None and not path.exists() and _DATASET.fullmatch(name):
        return "dataset", name
    kind = kind or ("images" if path.is_dir() else _KINDS.get(path.suffix.lower()))
    if kind is None:
        known = ", ".join(_KINDS)
        raise ValueError(
            f"'{text}' is no data set's name, and no file whose ending ({known}) says what it holds; "
            "KIND=FILE says it, such as csv=table.txt"
        )
    return kind, file(name, say)


def file(name: str, say: Callable[[str], None]) -> str:
    """Return a FILE as a job names it: one of this machine is marked, an upload or a path on the server is as it is."""
    path = Path(name.removeprefix(PREFIX)).expanduser()
    if path.exists():
        return f"{PREFIX}{path.resolve()}"
    if name.startswith(PREFIX):
        raise ValueError(f"there is no file '{path}' on this machine")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", name):
        say(f"'{name}' is no file here: it is taken for one below the server's data folder.")
    return name


def is_model_file(text: str) -> bool:
    """Whether a model is named by a file, and not by a job's id."""
    path = Path(text.removeprefix(PREFIX)).expanduser()
    return text.startswith((PREFIX, "sha256:")) or path.suffix.lower() in _WHOLE | _DESCRIBED or path.is_file()


def model(text: str, input_shape: list[int | None] | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the model in a file: a whole one to upload, a Keras architecture, or fitq's list of layers.

    Raise ValueError when it cannot be told, or is not there.
    """
    path = Path(text.removeprefix(PREFIX)).expanduser()
    if text.startswith("sha256:") or path.suffix.lower() in _WHOLE:
        return {"upload": file(text, say)}
    if not path.is_file():
        raise ValueError(f"there is no file '{path}' on this machine")
    if path.stat().st_size > TEXT_BYTES:
        raise ValueError(f"'{path}' has more than {TEXT_BYTES} bytes, which no architecture has; is it a .keras file?")
    try:
        said = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is no text: byte {error.start} is not UTF-8") from error
    return _described(path, said, input_shape)


def _described(path: Path, said: str, input_shape: list[int | None] | None) -> dict[str, Any]:
    try:
        value = specfile.value(path.name, said)
    except BadSpecFile:
        # Old Keras writes YAML with tags of Python's; the server reads, or refuses, it.
        return {"architecture": said}
    if isinstance(value, list):
        if input_shape is None:
            raise ValueError(f"'{path}' is a list of layers: --input-shape must say one sample's shape")
        return {"layers": value, "input_shape": input_shape}
    if isinstance(value, dict) and "layers" in value and not {"class_name", "config"} & set(value):
        return value if input_shape is None else {**value, "input_shape": input_shape}
    return {"architecture": compact(said)}
