"""Checkpoints: one file each, all that training needs to go on to the bit.

A checkpoint is an `.npz` file that `numpy.load(path, allow_pickle=False)` opens. Its member `manifest`
is a uint8 array of JSON; the others are the variables that the manifest lists, `weights.0`, `seeds.0`,
`optimizer.0`, `metrics.0` and so on, and the arrays of callbacks. Types that NumPy lacks (bfloat16) are
stored as unsigned integers of their width, and the manifest names the type.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator

from shared import failpoints, store
from shared.errors import CheckpointCorrupt
from shared.failpoints import Point
from shared.store import StoredFile
from worker.training import state
from worker.training.modelfiles import keras3, optimizers
from worker.wire import Assignment

FORMAT = 1
#: What every manifest lists.
_GROUPS = {"weights", "seeds", "optimizer", "metrics"}


@dataclass(frozen=True)
class Position:
    """Where training stands: steps since the job began, epochs complete, steps into the next one."""

    step: int
    epoch: int
    step_in_epoch: int = 0


@dataclass(frozen=True)
class Progress:
    """What a checkpoint holds beside the model and the optimizer."""

    position: Position
    #: Rows of the training data: the position means nothing on other data.
    rows: int
    #: Whether something (EarlyStopping) ended training early.
    stop_training: bool = False
    #: Whether the weights are those after `on_train_end`: nothing is left to do.
    finished: bool = False
    #: One state for each callback, in order, Keras's History last.
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    #: The files that callbacks have left so far (`worker/training/files.py`).
    files: dict[str, Any] = field(default_factory=dict)
    #: What the data's files held (`worker/training/seals.py`); empty in older checkpoints.
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: In which order the rows come (`engine.Loop.plan`); empty in older checkpoints.
    plan: str = ""
    #: Why the bits may differ from those of an undisturbed run, one sentence each.
    inexact: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contents:
    """A checkpoint that was read: verified, not yet applied."""

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    progress: Progress


def groups(model: Any) -> dict[str, list[Any]]:
    """Return every variable that training changes, by role. The optimizer must be built."""
    weights = list(model.weights)
    known = {id(v) for v in weights}
    seeds = [v for v in model.variables if id(v) not in known]
    shared_seed = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    if shared_seed is not None:
        seeds.append(shared_seed.state)
    return {"weights": weights, "seeds": seeds, "optimizer": list(model.optimizer.variables)}


def values(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return copies of the variables' values."""
    return [np.array(v.numpy()) for v in variables]


def digest(model: Any) -> str:
    """Return the SHA-256 of a model's weights.

    For each of `model.weights`, in order, are hashed: its path, its dtype and its shape (numbers joined by
    commas), each as UTF-8 and followed by a newline, then its values as bytes, little-endian, in C order.
    """
    sha = hashlib.sha256()
    for variable in model.weights:
        value = np.ascontiguousarray(variable.numpy())
        sha.update(f"{variable.path}\n{value.dtype.name}\n{','.join(map(str, variable.shape))}\n".encode())
        sha.update(value.tobytes())
    return sha.hexdigest()


def write(
    volume: Path,
    path: str,
    model: Any,
    progress: Progress,
    *,
    metrics: list[np.ndarray],
    arrays: dict[str, np.ndarray],
    weights_sha256: str,
    about: dict[str, Any],
) -> StoredFile:
    """Write a checkpoint whole, read it back, and return what was written.

    `metrics` are the values of the model's metrics, for a checkpoint within an epoch; `arrays` those of
    the callbacks' states; `about` is what the manifest says besides (architecture, compile). Raise OSError when
    the disk is full.
    """
    members = dict(arrays)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "keras": keras.__version__,
        "weights_sha256": weights_sha256,
        "progress": asdict(progress),
        **about,
    }
    for name, variables in groups(model).items():
        manifest[name] = _listed(name, [v.path for v in variables], values(variables), members)
    manifest["metrics"] = _listed(
        "metrics", [v.path for v in model.metrics_variables][: len(metrics)], metrics, members
    )
    members["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    with store.writing(volume, path) as file:
        np.savez(file, **members)  # type: ignore[arg-type]
        failpoints.reach(Point.MID_CHECKPOINT_WRITE)
    return store.describe(volume, path)


def _listed(
    name: str, paths: list[str], held: list[np.ndarray], members: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    listed = []
    for index, (path, value) in enumerate(zip(paths, held, strict=True)):
        members[f"{name}.{index}"], dtype = state.raw(value)
        listed.append({"path": path, "dtype": dtype, "shape": list(value.shape)})
    return listed


def read(volume: Path, file: StoredFile) -> Contents:
    """Return a checkpoint's contents. Raise `CheckpointCorrupt` when it is not what its row says."""
    path = store.verify(volume, file)
    with _sound(file.path), np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
        manifest = json.loads(arrays.pop("manifest").tobytes())
        if manifest["format"] != FORMAT:
            raise CheckpointCorrupt(f"{file.path} has format {manifest['format']}; {FORMAT} is read.")
        if missing := sorted(_GROUPS - set(manifest)):
            raise CheckpointCorrupt(f"{file.path} is no checkpoint: it does not list its {', '.join(missing)}.")
        if unknown := sorted(set(manifest["progress"]) - {one.name for one in fields(Progress)}):
            raise CheckpointCorrupt(f"{file.path} was written by a newer fitq: it holds {', '.join(unknown)}.")
        return Contents(manifest, arrays, _progress(manifest))


def _progress(manifest: dict[str, Any]) -> Progress:
    saved = manifest["progress"]
    return Progress(**{**saved, "position": Position(**saved["position"])})


def manifest(volume: Path, file: StoredFile) -> dict[str, Any]:
    """Return what a checkpoint says about itself. Raise `CheckpointCorrupt` when it is not what its row says."""
    path = store.verify(volume, file)
    with _sound(file.path), np.load(path, allow_pickle=False) as archive:
        return dict(json.loads(archive["manifest"].tobytes()))


@contextmanager
def _sound(path: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointCorrupt(f"{path} is no checkpoint: {error}.") from error


def check(contents: Contents, model: Any) -> None:
    """Raise `CheckpointCorrupt` naming the first variable in which a checkpoint and a model differ."""
    if contents.manifest["seeds"] and len(contents.manifest["seeds"]) > len(groups(model)["seeds"]):
        # The checkpoint's process had drawn from Keras's global generator, which is made on first use.
        seed_generator.global_seed_generator()
    for name, variables in groups(model).items():
        _check_group(contents, name, variables)
    if contents.manifest["metrics"]:
        _check_group(contents, "metrics", list(model.metrics_variables))


def _check_group(contents: Contents, name: str, variables: list[Any]) -> None:
    saved = contents.manifest[name]
    if len(saved) != len(variables):
        raise CheckpointCorrupt(f"The checkpoint has {len(saved)} {name} and the model {len(variables)}.")
    for entry, variable in zip(saved, variables, strict=True):
        here = (variable.path if name == "weights" else entry["path"], _dtype(variable), list(variable.shape))
        there = (entry["path"], entry["dtype"], entry["shape"])
        if here != there:
            raise CheckpointCorrupt(f"The checkpoint holds {_shown(there)} where the model has {_shown(here)}.")


def _dtype(variable: Any) -> str:
    return str(state.numpy_dtype(keras.backend.standardize_dtype(variable.dtype)).name)


def _shown(what: tuple[str, str, list[int]]) -> str:
    return f"{what[0]} ({what[1]}, {what[2]})"


def apply(contents: Contents, model: Any) -> None:
    """Set the model's and the optimizer's variables; `check` must have passed."""
    for name, variables in groups(model).items():
        assign(contents, name, variables)
    keras3.finalize(model)


def assign(contents: Contents, name: str, variables: list[Any]) -> None:
    """Set one group of variables to the checkpoint's values."""
    for index, (entry, variable) in enumerate(zip(contents.manifest[name], variables, strict=True)):
        variable.assign(state.cooked(contents.arrays[f"{name}.{index}"], entry["dtype"]))


def load_weights(model: Any, assignment: Assignment) -> None:
    """Give a model the weights of the source's checkpoint. Raise `CheckpointCorrupt`."""
    source = assignment.source or {}
    contents = read(Path(assignment.volume), StoredFile(**source["file"]))
    _check_group(contents, "weights", model.weights)
    assign(contents, "weights", model.weights)
    keras3.finalize(model)


def load_optimizer(model: Any, assignment: Assignment) -> None:
    """Give a model's built optimizer, and its random numbers, the state of the source's checkpoint. Raise `BadSpec`."""
    source = assignment.source or {}
    contents = read(Path(assignment.volume), StoredFile(**source["file"]))
    held = contents.manifest["optimizer"]
    for entry, variable in zip(held, model.optimizer.variables, strict=False):
        if (entry["path"], tuple(entry["shape"])) != (variable.path, tuple(variable.shape)):
            raise optimizers.refused(f"Job {source['job']}'s optimizer has '{entry['path']}' for '{variable.path}'.")
    if len(held) != len(model.optimizer.variables):
        raise optimizers.refused(f"Job {source['job']} trained with another optimizer.")
    assign(contents, "optimizer", model.optimizer.variables)
    if len(contents.manifest["seeds"]) > len(groups(model)["seeds"]):
        seed_generator.global_seed_generator()
    _check_group(contents, "seeds", groups(model)["seeds"])
    assign(contents, "seeds", groups(model)["seeds"])
