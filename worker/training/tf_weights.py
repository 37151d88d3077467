"""Weights as a TensorFlow checkpoint, by the names that Keras 2 gives: `layer_with_weights-0/kernel` and so on.

`tf_keras.Model.load_weights(".../model")` and `tf.train.load_checkpoint` read it. The names are paths in a
graph of objects; the objects here stand for Keras 2's models and layers, and hold the variables of ours.
"""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.trackable import base

from worker.training.modelfiles import keras2_names

#: The name under which Keras's documentation, and everybody, saves.
_NAME = "model"


def save(model: Any, folder: Path) -> None:
    """Write `model.index`, `model.data-…` and `checkpoint`, the file that names them, into a folder."""
    tf.train.Checkpoint(root=_node(model, {})).write(str(folder / _NAME))
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{_NAME}"\nall_model_checkpoint_paths: "{_NAME}"\n')


class _Node(base.Trackable):  # type: ignore[misc]
    """An object of the graph: its children by name, in the order that decides which of two names a variable gets."""

    def __init__(self, children: dict[str, Any]) -> None:
        self._children = children

    def _trackable_children(self, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        return self._children


def _node(held: Any, known: dict[int, Any]) -> Any:
    """Return what stands for a layer or a list of layers; a shared layer is one object."""
    if isinstance(held, keras.Variable):
        return held.value
    if isinstance(held, (list, tuple)):
        return _Node({str(index): _node(one, known) for index, one in enumerate(held)})
    if id(held) not in known:
        named = dict(keras2_names.parts(held))
        if isinstance(held, keras.Model):
            named |= keras2_names.layers(held)
        known[id(held)] = _Node({name: _node(one, known) for name, one in named.items()})
    return known[id(held)]
