"""A model, or its weights, in a file that somebody brings: what is in it is told from its bytes, not from its name.

Nothing is handed to Keras's loaders. The architecture passes the allow-list, arrays are read as plain numbers after
their shapes have been compared with the model's.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shared import architecture, refs, store
from shared.errors import BadData, BadSpec
from shared.fit_spec import Compile
from worker.training.modelfiles import (
    archives,
    bundles,
    compiled,
    forms,
    hdf5,
    keras3,
    keras_zip,
    old_h5,
    places,
    sharded,
    tars,
    weights,
)
from worker.training.modelfiles.forms import Form
from worker.training.modelfiles.places import Archive, Beside

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ModelFile:
    """A file with a model or with weights, given in a spec as a path below `data` or an upload.

    Weights in TensorFlow's format are several files: given as what their names below `data` begin with, or in one
    archive.
    """

    volume: Path
    file: str
    #: Bytes that its arrays may take.
    budget: int

    def _prefix(self) -> str | None:
        """Return what the names of a TensorFlow checkpoint's files begin with, None where it is one file."""
        return store.prefix_of(self.volume, self.file)

    @contextmanager
    def _open(self) -> Iterator[tuple[Form, BinaryIO]]:
        """Open the file, and tell the form it has. Raise `BadData`."""
        with store.open_data(self.volume, self.file) as file:
            yield forms.tell(file, self.file), file

    def sha256(self) -> str:
        """Return the SHA-256 of what is in the file, or in its files one after another. Raise `BadData`."""
        digest = hashlib.sha256()
        for name in self._names():
            with store.open_data(self.volume, name) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    def _names(self) -> list[str]:
        place = Beside(self.volume, self.file)
        if (prefix := self._prefix()) is not None:
            return bundles.files(place, prefix)
        with self._open() as (form, _):
            return sharded.files(place, self.file) if form == Form.LIST else [self.file]

    def architecture(self) -> dict[str, Any]:
        """Return the checked architecture of a whole model. Raise `BadSpec` for what the allow-list refuses."""
        config, _, _ = self._described()
        try:
            return architecture.checked(config)
        except BadSpec as error:
            place = error.fields[0].pointer if error.fields else ""
            raise BadSpec(f"{self.file}: the model in it is refused at {place or '/'}: {error.message}") from error

    def compiled(self) -> Compile | None:
        """Return how the model was compiled, None where the file does not say. Raise `BadSpec`."""
        _, said, old = self._described()
        return None if said is None else compiled.read(said, self.file, old=old)

    def _described(self) -> tuple[dict[str, Any], dict[str, Any] | None, bool]:
        """Return architecture and compile configuration as they stand in the file; whether Keras 1 or 2 wrote it."""
        with self._open() as (form, file):
            if form == Form.HDF5 and (found := self._described_h5(file)) is not None:
                return found
            if form == Form.LIST:
                raise BadData(f"{self.file} is JSON: {_INLINE}.")
            if form != Form.KERAS:
                raise BadData(
                    f"{self.file} holds {form}, not a whole model: "
                    "give it as weights beside the model's layers or architecture."
                )
            config, old = keras_zip.config(file, self.file), keras_zip.is_old(file, self.file)
        said = config.get("compile_config")
        return _with_shape(config), said if isinstance(said, dict) else None, old

    def _described_h5(self, file: BinaryIO) -> tuple[dict[str, Any], dict[str, Any] | None, bool] | None:
        with hdf5.opened(file, self.file) as root:
            if not old_h5.is_whole(root):
                return None
            config = keras_zip.json_object(root.text(old_h5.CONFIG) or "", f"{self.file}, '{old_h5.CONFIG}',")
            said = root.text(old_h5.COMPILED)
            made = keras_zip.json_object(said, f"{self.file}, '{old_h5.COMPILED}',") if said else None
            old = old_h5.is_old(root)
        # A newer key in the configuration itself tells the dialect.
        return ({**config, "keras_version": "2"} if old and "keras_version" not in config else config), made, old

    def load_weights(self, model: Any) -> None:
        """Give a built model the weights. Raise `BadData` naming the layer that they do not fit."""
        with self._weights() as found:
            found.load(model)
        keras3.finalize(model)

    def check_weights(self, model: Any) -> None:
        """Raise `BadData` when the weights do not fit a model, of which only shapes need be known."""
        with self._weights() as found:
            found.check(model)

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:
        """Give a model's built optimizer, and its random numbers, the state in the file. Raise `BadSpec`, `BadData`."""
        with self._weights() as found:
            found.load_optimizer(model, seeds)

    @contextmanager
    def _weights(self) -> Iterator[weights.Weights]:
        """Open the weights, whatever form they have. Raise `BadData`."""
        with ExitStack() as stack:
            beside = Beside(self.volume, self.file)
            if (prefix := self._prefix()) is not None:
                yield weights.Tensorflow(stack.enter_context(bundles.opened(beside, prefix, self.budget)))
                return
            form, file = stack.enter_context(self._open())
            if form == Form.NPZ:
                yield weights.Npz(stack.enter_context(archives.opened(file, self.file)))
            elif form == Form.KERAS:
                yield _hdf5(stack.enter_context(keras_zip.weights(file, self.file, self.budget)))
            elif form == Form.HDF5:
                yield _hdf5(stack.enter_context(hdf5.opened(file, self.file)))
            elif form == Form.LIST:
                yield weights.Hdf5(stack.enter_context(sharded.opened(beside, self._listed(), self.budget)))
            elif form == Form.ZIP:
                archive = stack.enter_context(archives.opened(file, self.file))
                yield stack.enter_context(_several(archive, self.budget))
            else:
                unpacked = stack.enter_context(tars.opened(file, self.file, self.budget))
                yield stack.enter_context(_several(unpacked, self.budget))

    def _listed(self) -> str:
        """Return the name of the list of files, which lie beside it. Raise `BadData` for one that was sent alone."""
        if self.file.startswith(refs.SCHEME):
            raise BadData(f"{self.file} is JSON: {_INLINE}, and {_IN_ONE}.")
        return self.file


_INLINE = "an architecture stands in the spec itself, as model.architecture"
_IN_ONE = "a list of weights (.weights.json) is sent with its files in one zip or tar archive"


@contextmanager
def _several(archive: Archive, budget: int) -> Iterator[weights.Weights]:
    """Open the weights in an archive: those of Keras 3 when there is a list of them, else those of TensorFlow."""
    lists = [name for name in places.visible(archive) if name.endswith(sharded.ENDING)]
    if len(lists) == 1:
        with sharded.opened(archive, lists[0], budget) as root:
            yield weights.Hdf5(root)
    else:
        with bundles.opened(archive, bundles.prefix_in(archive), budget) as bundle:
            yield weights.Tensorflow(bundle)


def _hdf5(root: hdf5.Group) -> weights.Weights:
    return weights.OldHdf5(root) if old_h5.is_ours(root) else weights.Hdf5(root)


def _with_shape(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration whose Sequential says its input shape, where only its build part did."""
    inner, built = config.get("config"), config.get("build_config")
    if config.get("class_name") != "Sequential" or not isinstance(inner, dict) or not isinstance(built, dict):
        return config
    shape = built.get("input_shape")
    if not isinstance(shape, list) or inner.get("build_input_shape") is not None:
        return config
    layers = inner.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    if isinstance(first, dict) and first.get("class_name") == "InputLayer":
        return config
    return {**config, "config": {**inner, "build_input_shape": shape}}
