"""Images in folders that are named for their classes: a folder of the volume, or a `.zip` of one."""

import hashlib
import os
import stat
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shared import refs, store
from shared.errors import BadData
from shared.sources.files import ImagesSource
from worker.training.sources import datafile, picture
from worker.training.sources.datafile import DataFile
from worker.training.sources.place import Place
from worker.training.sources.reader import Field, Rows

#: Files of one source, at most.
_FILES = 1_000_000
#: Members of an archive, and bytes of its list of them, at most.
_MEMBERS, _LIST_BYTES = 500_000, 1 << 26
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
#: What systems leave in folders by themselves.
_LEFTOVERS = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


class _Files(Protocol):
    """Where images lie: their names, below one another by `/`, and the bytes of each."""

    @property
    def label(self) -> str:
        """What messages call it."""

    def names(self) -> Iterator[str]:
        """Yield the name of each file."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raise `BadData`."""


class _Folder:
    """A folder, whose files were listed once: what they were then, they are to be when they are read."""

    def __init__(self, volume: Path, label: str) -> None:
        """List the folder. Raise `BadData` for links, and for what lies deeper than a folder in it."""
        self.label = label
        self._volume = volume
        with store.folder(volume, label) as top:
            self._found = dict(self._below(top, "", deeper=True))

    def names(self) -> Iterator[str]:
        """Yield the names of the files."""
        return iter(self._found)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _, _ in self._found.values())

    @property
    def stamp(self) -> str:
        """What changes with every change of a file, or of the list of them."""
        said = "".join(f"{name}\n{one}\n" for name, (_, _, one) in self._found.items())
        return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()

    def sha256(self) -> str:
        """Return the SHA-256 of the list of all files, each with its own, as `sha256sum` writes it."""
        digest = hashlib.sha256()
        for name in self._found:
            line = f"{hashlib.sha256(self.read(name)).hexdigest()}  {name}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _below(self, descriptor: int, prefix: str, *, deeper: bool) -> Iterator[tuple[str, tuple[int, int, str]]]:
        """Yield each file's name, its size, the time when it was last written to, and its stamp."""
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = prefix + entry.name
            if _ignored(entry.name):
                continue
            if entry.is_symlink():
                raise BadData(f"{self.label}/{name} is a link; links are not followed.")
            if not entry.is_dir(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                yield name, (status.st_size, status.st_mtime_ns, datafile.stamp(status))
            elif not deeper:
                raise BadData(f"{self.label}/{name} is a folder; images lie directly in the folder of their class.")
            else:
                inner = os.open(entry.name, _FLAGS | os.O_DIRECTORY, dir_fd=descriptor)
                try:
                    yield from self._below(inner, f"{name}/", deeper=False)
                finally:
                    os.close(inner)

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raise `BadData` when it is not the one that was listed."""
        label = f"{self.label}/{name}"
        size, written_ns, _ = self._found[name]
        if size > picture.BYTES_MOST:
            raise BadData(f"{label} has {size >> 20} MB; an image has at most {picture.BYTES_MOST >> 20}.")
        with store.open_data(self._volume, label) as file:
            data = file.read(picture.BYTES_MOST)
            status = os.fstat(file.fileno())
        if (len(data), status.st_size, status.st_mtime_ns) != (size, size, written_ns):
            raise BadData(datafile.written_to(label))
        return data


class _Archive:
    """A `.zip` file; what its list says is checked before anything is unpacked."""

    def __init__(self, file: DataFile) -> None:
        self.label = file.label
        self._file = file
        self._lock = threading.Lock()
        try:
            end = zipfile._EndRecData(file.stream())  # type: ignore[attr-defined]  # noqa: SLF001 - before it is read
            if end is not None and end[5] > _LIST_BYTES:
                raise BadData(f"{self.label} lists more files than can be read.")
            self._zip = zipfile.ZipFile(file.stream())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise BadData(f"{self.label} is neither a folder nor a readable .zip file.") from error
        self._members = self._checked(self._zip.infolist())

    def _checked(self, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        if len(members) > _MEMBERS:
            raise BadData(f"{self.label} holds {len(members)} files; at most {_MEMBERS} are read.")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in members:
            name = info.filename
            if not store.is_relative(name.removesuffix("/")):
                raise BadData(f"{self.label} holds {name[:100]!r}, which leads out of it.")
            if info.is_dir() or any(_ignored(part) for part in name.split("/")):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise BadData(f"{self.label} holds the link {name[:100]!r}; links are not followed.")
            if info.flag_bits & 1 or info.file_size > picture.BYTES_MOST:
                raise BadData(f"{self.label} holds {name[:100]!r}, which is encrypted or too large for an image.")
            if name in found:
                raise BadData(f"{self.label} holds {name[:100]!r} twice.")
            found[name] = info
        return _without_top(found)

    def names(self) -> Iterator[str]:
        """Yield the names of the files."""
        for name in sorted(self._members):
            if name.count("/") > 1:
                raise BadData(f"{self.label} holds {name[:100]!r}; images lie directly in the folder of their class.")
            yield name

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            # No more than the list says is unpacked, and its checksum is compared.
            with self._lock, self._zip.open(self._members[name]) as member:
                data = member.read()
            self._file.check()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise BadData(f"{self.label}, file {name!r}, cannot be unpacked: {str(error)[:100]}.") from error
        return data


def _without_top(members: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return members without the one folder in which all of them lie beside folders of classes."""
    parts = [name.split("/") for name in members]
    if parts and len({part[0] for part in parts}) == 1 and all(len(part) > 2 for part in parts):  # noqa: PLR2004
        return {name.split("/", 1)[1]: info for name, info in members.items()}
    return members


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _LEFTOVERS


@dataclass(frozen=True)
class ImagesReader:
    """Images whose names are known; each is decoded when it is read."""

    source: ImagesSource
    files: _Files
    names: list[str]
    classes: np.ndarray | None
    class_names: tuple[str, ...] | None
    weight: None = None

    @property
    def x(self) -> Field:
        """The size that every image is brought to."""
        return Field((*self.source.image_size, _CHANNELS[self.source.color]), np.dtype(np.float32))

    @property
    def y(self) -> Field | None:
        """The number of the class."""
        return None if self.classes is None else Field((), np.dtype(np.int64))

    @property
    def starts(self) -> np.ndarray:
        """Each file is read alone."""
        return np.arange(len(self.names) + 1)

    def read(self, first: int, end: int) -> Rows:
        """Return the images from `first` up to `end`."""
        x = np.empty((end - first, *self.x.shape), np.float32)
        for row in range(first, end):
            x[row - first] = self._image(self.names[row])
        return Rows(x, None if self.classes is None else self.classes[first:end])

    def _image(self, name: str) -> np.ndarray:
        label = f"{self.files.label}/{name}"
        return picture.resized(
            picture.decoded(self.files.read(name), self.source.color, label), *self.source.image_size
        )


def opened(
    source: ImagesSource, where: Place, *, labels: bool, class_names: tuple[str, ...] | None, seed: int | None
) -> ImagesReader:
    """Find the images. With a seed their order is shuffled by it: sorted, the last rows would be of one class.

    Raise `BadData` naming what is no image by its name, or stands outside of its class.
    """
    is_upload = refs.upload(source.images) is not None
    folder = not is_upload and store.is_folder(where.volume, source.images)
    files: _Files = _folder(source.images, where) if folder else _Archive(where.open(source.images))
    names = _checked(files, labels=labels)
    classes, found = _classes(names, files.label, class_names) if labels else (None, None)
    if seed is not None:
        order = np.random.Generator(np.random.PCG64([seed])).permutation(len(names))
        names = [names[row] for row in order]
        classes = None if classes is None else classes[order]
    return ImagesReader(source, files, names, classes, found)


def _folder(path: str, where: Place) -> _Folder:
    """Return a folder as it was listed when it was first asked for."""
    known = where.contents.get(path)
    found = known if isinstance(known, _Folder) else _Folder(where.volume, path)
    where.contents[path] = found
    return found


def _checked(files: _Files, *, labels: bool) -> list[str]:
    names = []
    for name in files.names():
        if not name.lower().endswith(_SUFFIXES):
            raise BadData(f"{files.label}/{name} is no image by its name: {', '.join(_SUFFIXES)} are read.")
        if labels and "/" not in name:
            raise BadData(f"{files.label}/{name} lies in no folder of a class.")
        names.append(name)
        if len(names) > _FILES:
            raise BadData(f"{files.label} holds more than {_FILES} images.")
    if not names:
        raise BadData(f"{files.label} holds no images.")
    return names


def _classes(names: list[str], label: str, given: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    folders = [name.split("/")[0] for name in names]
    known = given or tuple(sorted(set(folders)))
    numbers = {name: number for number, name in enumerate(known)}
    other = next((folder for folder in folders if folder not in numbers), None)
    if other is not None:
        raise BadData(f"{label}/{other} is named for none of the {len(known)} classes.")
    return np.array([numbers[folder] for folder in folders], np.int64), known
