"""What Keras 2 calls the parts of a model: `layer_with_weights-0`, `kernel`, `cell`; TensorFlow's checkpoints go by it.

The names are those of attributes, so they are asked of the model: Keras 3 has the same ones, but for a few.
"""

from collections.abc import Iterator
from typing import Any

import keras

#: Attributes that have other names there, by the layer's class.
_RENAMED: dict[type, dict[str, str]] = {
    keras.layers.DepthwiseConv1D: {"kernel": "depthwise_kernel"},
    keras.layers.DepthwiseConv2D: {"kernel": "depthwise_kernel"},
    keras.layers.Normalization: {"adapt_mean": "mean", "adapt_variance": "variance"},
}
#: Keras 3's own list of the layers in a layer, which stand under other attributes as well.
_TRACKED = "_layers"


def parts(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a layer holds, by name: variables, layers, and lists of layers.

    A model holds its layers with weights, counted; `layers` yields all of them.
    """
    if isinstance(layer, keras.Model):
        held = (one for one in layer.layers if one.weights)
        yield from ((f"layer_with_weights-{index}", one) for index, one in enumerate(held))
        return
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):  # noqa: SLF001 - its own, no sub-layers'
        yield _attribute(layer, variable), variable
    for name, value in vars(layer).items():
        if name != _TRACKED and (isinstance(value, keras.Layer) or _is_layers(value)):
            yield name, value


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield all layers of a model by the names that count them."""
    yield from ((f"layer-{index}", one) for index, one in enumerate(model.layers))


def _is_layers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, keras.Layer) for one in value)


def _attribute(layer: Any, variable: Any) -> str:
    """Return the name of the layer's attribute that holds a variable; Keras 3 hides some behind an underscore."""
    found = next((name for name, value in vars(layer).items() if value is variable), variable.name)
    name = str(found.lstrip("_"))
    return _RENAMED.get(type(layer), {}).get(name, name)
