"""Files of this machine that a job names as `file:PATH`: they are uploaded, and the job names the uploads instead.

Where a job says FILE (in its model and its data) it may say `file:PATH` to the client, relative to the job's
own file. A folder of images is uploaded as one archive, and so are the files of a TensorFlow checkpoint, which weights
name by what they begin with; an architecture's text becomes part of the job.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from fitq.errors import BadSpecFile

#: What a local file's name begins with in a job.
PREFIX = "file:"
#: Bytes of an architecture's text, at most; the server takes no larger one.
TEXT_BYTES = 4_000_000
#: From so many characters on, a text's indentation is left out.
_LONG = 500_000
#: Fields of models and sources whose values are files.
_FIELDS = frozenset({"npz", "npy", "labels", "csv", "parquet", "tfrecord", "images", "sample_weight"})
_MODEL_FIELDS = frozenset({"upload", "weights"})
_WEIGHTS = "/model/weights"
#: How the index of a TensorFlow checkpoint is called, behind what its files begin with.
_INDEX = ".index"
#: The time of every member of an archive: the same folder is the same upload.
_TIME = (1980, 1, 1, 0, 0, 0)

Upload = Callable[[Path], str]


class LocalFiles:
    """Replaces local files by uploads; the same file is uploaded once."""

    def __init__(self, folder: Path, upload: Upload, name: str = "the job") -> None:
        """Look for relative paths in `folder`; `name` is what messages call the job."""
        self._folder, self._upload, self._name = folder, upload, name
        self._known: dict[Path, str] = {}

    def sent(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job with uploads for local files. Raise `BadSpecFile` for one that is not there."""
        found = dict(spec)
        if isinstance(spec.get("model"), dict):
            found["model"] = self._model(spec["model"])
        if isinstance(spec.get("data"), dict):
            found["data"] = {role: self._source(one, f"/data/{role}") for role, one in spec["data"].items()}
        return found

    def _model(self, model: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: self._file(one, f"/model/{key}") if key in _MODEL_FIELDS else one for key, one in model.items()}
        if is_local(found.get("architecture")):
            found["architecture"] = self._text(found["architecture"], "/model/architecture")
        return found

    def _source(self, source: Any, pointer: str) -> Any:
        if not isinstance(source, dict):
            return source
        return {key: self._file(one, f"{pointer}/{key}") if key in _FIELDS else one for key, one in source.items()}

    def _file(self, value: Any, pointer: str) -> Any:
        """Replace one file, or each of several in a list or by the inputs' names."""
        if isinstance(value, list):
            return [self._file(one, f"{pointer}/{index}") for index, one in enumerate(value)]
        if isinstance(value, dict):
            return {key: self._file(one, f"{pointer}/{key}") for key, one in value.items()}
        if not is_local(value):
            return value
        path = self._path(value, pointer)
        if path not in self._known:
            self._known[path] = self._sent(path, pointer)
        return self._known[path]

    def _path(self, value: str, pointer: str) -> Path:
        given = value.removeprefix(PREFIX)
        if pointer == _WEIGHTS:
            given = given.removesuffix(_INDEX)
        path = (self._folder / Path(given).expanduser()).resolve()
        if not path.exists() and not (pointer == _WEIGHTS and path.with_name(path.name + _INDEX).exists()):
            raise BadSpecFile(f"{self._name}: {pointer}: there is no file '{given}' on this machine.")
        return path

    def _sent(self, path: Path, pointer: str) -> str:
        try:
            if not path.exists():
                return self._archive(path.parent, _checkpoint(path), path.name)
            if not path.is_dir():
                return self._upload(path)
            if not pointer.endswith("/images"):
                raise BadSpecFile(f"{self._name}: {pointer}: '{path}' is a folder; only images may be one.")
            return self._archive(path, path.rglob("*"), path.name)
        except OSError as error:
            raise BadSpecFile(f"{self._name}: {pointer}: '{path}' cannot be read: {error.strerror}.") from error

    def _archive(self, folder: Path, files: Iterable[Path], name: str) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            return self._upload(zipped(folder, files, Path(scratch) / f"{name}.zip"))

    def _text(self, value: str, pointer: str) -> str:
        path = self._path(value, pointer)
        try:
            content = path.read_bytes()
            if len(content) > TEXT_BYTES:
                raise BadSpecFile(f"{self._name}: {pointer}: '{path}' has more than {TEXT_BYTES} bytes.")
            return compact(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise BadSpecFile(f"{self._name}: {pointer}: '{path}' is no text: it is not UTF-8.") from error
        except OSError as error:
            raise BadSpecFile(f"{self._name}: {pointer}: '{path}' cannot be read: {error.strerror}.") from error


def compact(text: str) -> str:
    """Return a text as it is, a long one of JSON without what only indents it, so that a job can hold it."""
    if len(text) <= _LONG:
        return text
    try:
        return json.dumps(json.loads(text, object_pairs_hook=_unique), separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice, which the server says better")
    return found


def is_local(value: Any) -> bool:
    """Whether a field's value names a file of this machine."""
    return isinstance(value, str) and value.startswith(PREFIX)


def _checkpoint(prefix: Path) -> list[Path]:
    """Return the files of a TensorFlow checkpoint."""
    shards = (one for one in prefix.parent.iterdir() if one.name.startswith(f"{prefix.name}.data-"))
    return [prefix.with_name(prefix.name + _INDEX), *shards]


def zipped(folder: Path, files: Iterable[Path], to: Path) -> Path:
    """Write files below a folder into an archive: in order and without their times, so that it is always the same.

    Hidden files stay out.
    """
    with ZipFile(to, "w", ZIP_STORED) as archive:
        for path in sorted(files):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                with path.open("rb") as source, archive.open(ZipInfo(name.as_posix(), _TIME), "w") as member:
                    while chunk := source.read(1 << 20):
                        member.write(chunk)
    return to
