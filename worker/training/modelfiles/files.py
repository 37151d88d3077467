"""A model, or its weights, in a file that somebody brings: what is in it is told from its bytes, not from its name.

Nothing is handed to Keras's loaders. The architecture passes the allow-list, arrays are read as plain numbers after
their shapes have been compared with the model's.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shared import architecture, store
from shared.errors import BadData, BadSpec
from shared.fit_spec import Compile
from worker.training.modelfiles import archives, compiled, hdf5, keras3, keras_zip, npz, old_h5, optimizers, stored

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_CHUNK = 1 << 20
#: Bytes of an upload's digest that messages show.
_SHOWN = len("sha256:") + 12


@dataclass(frozen=True)
class ModelFile:
    """A file with a model or with weights, given in a spec as a path below `data` or an upload."""

    volume: Path
    file: str
    #: Bytes that its arrays may take.
    budget: int

    @property
    def label(self) -> str:
        """The file as messages name it."""
        return f"upload {self.file[:_SHOWN]}…" if self.file.startswith("sha256:") else self.file

    @contextmanager
    def _open(self) -> Iterator[tuple[str, BinaryIO]]:
        """Open the file, and tell the form it has. Raise `BadData`."""
        with store.open_data(self.volume, self.file) as file:
            form = _form(file, self.label)
            file.seek(0)
            yield form, file

    def sha256(self) -> str:
        """Return the SHA-256 of what is in the file. Raise `BadData`."""
        digest = hashlib.sha256()
        with store.open_data(self.volume, self.file) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def architecture(self) -> dict[str, Any]:
        """Return the checked architecture of a whole model. Raise `BadSpec` for what the allow-list refuses."""
        config, _, _ = self._described()
        try:
            return architecture.checked(config)
        except BadSpec as error:
            place = error.fields[0].pointer if error.fields else ""
            raise BadSpec(f"{self.label}: the model in it is refused at {place or '/'}: {error.message}") from error

    def compiled(self) -> Compile | None:
        """Return how the model was compiled, None where the file does not say. Raise `BadSpec`."""
        _, said, old = self._described()
        return None if said is None else compiled.read(said, self.label, old=old)

    def _described(self) -> tuple[dict[str, Any], dict[str, Any] | None, bool]:
        """Return architecture and compile configuration as they stand in the file; whether Keras 1 or 2 wrote it."""
        with self._open() as (form, file):
            if form == "hdf5" and (found := self._described_h5(file)) is not None:
                return found
            if form != "keras":
                raise BadData(
                    f"{self.label} holds {_FORMS[form]}, not a whole model: "
                    "give it as weights beside the model's layers or architecture."
                )
            config, old = keras_zip.config(file, self.label), keras_zip.is_old(file, self.label)
        said = config.get("compile_config")
        return _with_shape(config), said if isinstance(said, dict) else None, old

    def _described_h5(self, file: BinaryIO) -> tuple[dict[str, Any], dict[str, Any] | None, bool] | None:
        with hdf5.opened(file, self.label) as root:
            if not old_h5.is_whole(root):
                return None
            config = keras_zip.json_object(root.text(old_h5.CONFIG) or "", f"{self.label}, '{old_h5.CONFIG}',")
            said = root.text(old_h5.COMPILED)
            made = keras_zip.json_object(said, f"{self.label}, '{old_h5.COMPILED}',") if said else None
            old = old_h5.is_old(root)
        # A newer key in the configuration itself tells the dialect.
        return ({**config, "keras_version": "2"} if old and "keras_version" not in config else config), made, old

    def load_weights(self, model: Any) -> None:
        """Give a built model the weights. Raise `BadData` naming the layer that they do not fit."""
        with self._open() as (form, file):
            if form == "npz":
                with archives.opened(file, self.label) as archive:
                    stored.assign(npz.match(archive, npz.manifest(archive), "weights", model.weights))
            else:
                with self._arrays(form, file) as root:
                    (old_h5 if old_h5.is_ours(root) else keras3).load(model, root)
        keras3.finalize(model)

    def check_weights(self, model: Any) -> None:
        """Raise `BadData` when the weights do not fit a model, of which only shapes need be known."""
        with self._open() as (form, file):
            if form == "npz":
                with archives.opened(file, self.label) as archive:
                    npz.match(archive, npz.manifest(archive), "weights", model.weights)
            else:
                with self._arrays(form, file) as root:
                    (old_h5 if old_h5.is_ours(root) else keras3).check(model, root)

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:
        """Give a model's built optimizer, and its random numbers, the state in the file. Raise `BadSpec`, `BadData`."""
        with self._open() as (form, file):
            if form == "npz":
                with archives.opened(file, self.label) as archive:
                    self._continue_npz(archive, model, seeds)
            else:
                with self._arrays(form, file) as root:
                    self._continue_h5(root, model)

    def _continue_h5(self, root: hdf5.Group, model: Any) -> None:
        ours = old_h5.is_ours(root)
        if ours and old_h5.is_old(root):
            state = old_h5.slots(root)
            if state is not None:
                optimizers.continue_slots(model.optimizer, state, model.trainable_weights)
                return
        arrays = old_h5.flat_optimizer(root) if ours else keras3.optimizer(root)
        if arrays is None:
            raise optimizers.refused(f"{self.label} holds no state of an optimizer.")
        optimizers.continue_flat(model.optimizer, arrays, self.label)
        if not ours:
            stored.assign(keras3.seeds(model, root))

    def _continue_npz(self, archive: archives.Zip, model: Any, seeds: list[Any]) -> None:
        listed = npz.manifest(archive)
        held = npz.entries(archive, listed, "optimizer")
        if not held:
            raise optimizers.refused(f"{self.label} holds no state of an optimizer.")
        optimizers.continue_flat(model.optimizer, [one.array for one in held], self.label)
        if listed.get("seeds"):
            stored.assign(npz.match(archive, listed, "seeds", seeds))

    @contextmanager
    def _arrays(self, form: str, file: BinaryIO) -> Iterator[hdf5.Group]:
        if form == "keras":
            with keras_zip.weights(file, self.label, self.budget) as root:
                yield root
            return
        with hdf5.opened(file, self.label) as root:
            yield root


_FORMS = {"keras": "a model", "npz": "a checkpoint of fitq", "hdf5": "the weights of a model"}


def _form(file: BinaryIO, label: str) -> str:
    start = file.read(8)
    if start.startswith(_HDF5):
        return "hdf5"
    if not start.startswith(_ZIP):
        raise BadData(f"{label} is no model file: it is neither a .keras, an HDF5 file nor a checkpoint of fitq.")
    file.seek(0)
    with archives.opened(file, label) as archive:
        if keras_zip.CONFIG in archive.names:
            return "keras"
        if npz.MANIFEST in archive.names:
            return "npz"
        held = ", ".join(f"'{name[:60]}'" for name in archive.names[:8]) or "nothing"
    raise BadData(f"{label} is no model file: the archive has neither '{keras_zip.CONFIG}' nor a manifest, but {held}.")


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
