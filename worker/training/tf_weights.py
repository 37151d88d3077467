"""Weights as a TensorFlow checkpoint, by the names that Keras 2 gives: `layer_with_weights-0/kernel` and so on.

`tf_keras.Model.load_weights(".../model")` and `tf.train.load_checkpoint` read it. The names are paths in a
graph of objects; the objects here stand for Keras 2's models and layers, and hold the variables of ours.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.trackable import base

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


def _node(layer: Any, known: dict[int, Any]) -> Any:
    """Return what stands for a layer; a shared layer is one object."""
    if id(layer) not in known:
        known[id(layer)] = _Node(dict(_children(layer, known)))
    return known[id(layer)]


def _children(layer: Any, known: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(layer, keras.Model):
        yield from _layers(layer, known)
        return
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):  # noqa: SLF001 - its own, no sub-layers'
        yield _attribute(layer, variable), variable.value
    for name, value in vars(layer).items():
        if isinstance(value, keras.Layer):
            yield name, _node(value, known)
        elif isinstance(value, (list, tuple)) and value and all(isinstance(one, keras.Layer) for one in value):
            yield name, _Node({str(index): _node(one, known) for index, one in enumerate(value)})


def _layers(model: Any, known: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a model's layers as Keras 2 counts them: all of them, and those with weights."""
    with_weights = 0
    for index, layer in enumerate(model.layers):
        if layer.weights:
            yield f"layer_with_weights-{with_weights}", _node(layer, known)
            with_weights += 1
        yield f"layer-{index}", _node(layer, known)


def _attribute(layer: Any, variable: Any) -> str:
    """Return the name of the layer's attribute that holds a variable; Keras 3 hides some behind an underscore."""
    found = next((name for name, value in vars(layer).items() if value is variable), variable.name)
    return str(found.lstrip("_"))
