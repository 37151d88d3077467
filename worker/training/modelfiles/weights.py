"""Weights in an open file, and the optimizer's state beside them: the same three questions to each form of file."""

from dataclasses import dataclass
from typing import Any, Protocol

from worker.training.modelfiles import keras3, npz, old_h5, optimizers, stored, tf_checkpoint
from worker.training.modelfiles.archives import Zip
from worker.training.modelfiles.bundles import Bundle
from worker.training.modelfiles.hdf5 import Group, Tree


class Weights(Protocol):
    """Weights in an open file."""

    def check(self, model: Any) -> None:
        """Raise `BadData` when they do not fit a model, of which only shapes need be known."""

    def load(self, model: Any) -> None:
        """Give a built model the weights. Raise `BadData`."""

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:
        """Give a model's built optimizer, and its random numbers, the state in the file. Raise `BadSpec`, `BadData`."""


@dataclass(frozen=True)
class Npz:
    """A checkpoint of fitq."""

    archive: Zip

    def check(self, model: Any) -> None:
        """Compare shapes."""
        npz.match(self.archive, npz.manifest(self.archive), "weights", model.weights)

    def load(self, model: Any) -> None:
        """Read the weights."""
        stored.assign(npz.match(self.archive, npz.manifest(self.archive), "weights", model.weights))

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:
        """Read the optimizer's variables and the random numbers."""
        listed = npz.manifest(self.archive)
        held = npz.entries(self.archive, listed, "optimizer")
        if not held:
            raise _without_optimizer(self.archive.label)
        optimizers.continue_flat(model.optimizer, [one.array for one in held], self.archive.label)
        if listed.get("seeds"):
            stored.assign(npz.match(self.archive, listed, "seeds", seeds))


@dataclass(frozen=True)
class Hdf5:
    """The weights that Keras 3 saves in HDF5."""

    root: Tree

    def check(self, model: Any) -> None:
        """Compare shapes."""
        keras3.check(model, self.root)

    def load(self, model: Any) -> None:
        """Read the weights."""
        keras3.load(model, self.root)

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:  # noqa: ARG002 - early versions saved them by layer
        """Read the optimizer's variables and the random numbers."""
        arrays = keras3.optimizer(self.root)
        if arrays is None:
            raise _without_optimizer(self.root.label)
        optimizers.continue_flat(model.optimizer, arrays, self.root.label)
        stored.assign(keras3.seeds(model, self.root))


@dataclass(frozen=True)
class OldHdf5:
    """HDF5 in the layout of Keras 1 and 2."""

    root: Group

    def check(self, model: Any) -> None:
        """Compare shapes."""
        old_h5.check(model, self.root)

    def load(self, model: Any) -> None:
        """Read the weights."""
        old_h5.load(model, self.root)

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:  # noqa: ARG002 - it has none
        """Read the optimizer's variables, or the slots of an old optimizer."""
        if old_h5.is_old(self.root) and (state := old_h5.slots(self.root)) is not None:
            optimizers.continue_slots(model.optimizer, state, model.trainable_weights)
            return
        arrays = old_h5.flat_optimizer(self.root)
        if arrays is None:
            raise _without_optimizer(self.root.label)
        optimizers.continue_flat(model.optimizer, arrays, self.root.label)


@dataclass(frozen=True)
class Tensorflow:
    """A checkpoint of TensorFlow, as Keras 2 saves weights."""

    bundle: Bundle

    def check(self, model: Any) -> None:
        """Compare shapes."""
        tf_checkpoint.check(model, self.bundle)

    def load(self, model: Any) -> None:
        """Read the weights."""
        tf_checkpoint.load(model, self.bundle)

    def load_optimizer(self, model: Any, seeds: list[Any]) -> None:  # noqa: ARG002 - it has none
        """Read the slots of an old optimizer."""
        state = tf_checkpoint.slots(model, self.bundle)
        if state is None:
            raise _without_optimizer(self.bundle.label)
        optimizers.continue_slots(model.optimizer, state, model.trainable_weights)


def _without_optimizer(label: str) -> Exception:
    return optimizers.refused(f"{label} holds no state of an optimizer.")
