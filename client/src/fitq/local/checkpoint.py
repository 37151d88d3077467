"""Reading and writing fitq's checkpoints: `.npz` files with a manifest. NumPy only.

The member `manifest` is a uint8 array of JSON; it lists the variables of each group (`weights`, `seeds`, `optimizer`)
in the order of the members `weights.0`, `weights.1` and so on. Types that NumPy lacks (bfloat16) are stored as unsigned
integers of their width, and the manifest names the type.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fitq.errors import BadDownload

FORMAT = 1
GROUPS = ("weights", "seeds", "optimizer")


@dataclass(frozen=True)
class Variable:
    """One variable's path and value; `dtype` is the name of its type, which NumPy may not have."""

    path: str
    dtype: str
    value: np.ndarray


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds."""

    groups: Mapping[str, Sequence[Variable]]
    #: Position, callbacks' states and so on, as the worker wrote them.
    progress: Mapping[str, Any]


def write(file: BinaryIO, contents: Contents, *, keras_version: str) -> None:
    """Write a checkpoint. Equal contents give equal bytes."""
    members: dict[str, np.ndarray] = {}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "keras": keras_version,
        "weights_sha256": digest(contents.groups["weights"]),
        "progress": dict(contents.progress),
        "metrics": [],
    }
    for group in GROUPS:
        manifest[group] = []
        for index, variable in enumerate(contents.groups[group]):
            members[f"{group}.{index}"] = _raw(variable.value)
            shape = list(variable.value.shape)
            manifest[group].append({"path": variable.path, "dtype": variable.dtype, "shape": shape})
    members["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    np.savez(file, **members)  # type: ignore[arg-type]


def digest(weights: Sequence[Variable]) -> str:
    """Return the SHA-256 of weights, as a job's result says it: over path, dtype, shape and bytes of each."""
    sha = hashlib.sha256()
    for one in weights:
        sha.update(f"{one.path}\n{one.dtype}\n{','.join(map(str, one.value.shape))}\n".encode())
        sha.update(np.ascontiguousarray(one.value).tobytes())
    return sha.hexdigest()


def read(path: Path) -> Contents:
    """Return a checkpoint's contents. Raise `BadDownload` when the file is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            manifest = json.loads(archive["manifest"].tobytes())
            if manifest["format"] != FORMAT:
                raise BadDownload(f"The checkpoint has format {manifest['format']}; this fitq reads {FORMAT}.")
            groups = {group: _variables(archive, group, manifest[group]) for group in GROUPS}
            return Contents(groups, manifest["progress"])
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BadDownload(f"{path.name} is no fitq checkpoint: {error}.") from error


def _variables(archive: Any, group: str, listed: list[dict[str, Any]]) -> list[Variable]:
    return [
        Variable(one["path"], one["dtype"], _cooked(archive[f"{group}.{index}"], one["dtype"]))
        for index, one in enumerate(listed)
    ]


def _raw(value: np.ndarray) -> np.ndarray:
    if value.dtype.isbuiltin == 1:
        return np.ascontiguousarray(value).reshape(value.shape)
    return value.view(f"u{value.dtype.itemsize}")


def _cooked(value: np.ndarray, dtype: str) -> np.ndarray:
    if value.dtype.name == dtype:
        return value
    import ml_dtypes  # Keras brings it along

    return value.view(np.dtype(getattr(ml_dtypes, dtype)))
