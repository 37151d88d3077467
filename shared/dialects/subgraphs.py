"""Layers that Keras 3 does not have, as small models that do the same. Pure."""

import math
from collections.abc import Callable
from typing import Any

from shared.dialects import objects
from shared.dialects.findings import Findings

#: How a layer that is no more is made: its arguments, the last axis of what goes in, where to note changes.
Maker = Callable[[dict[str, Any], int | None, Findings], dict[str, Any]]


def layer(class_name: str, name: str, /, **config: Any) -> dict[str, Any]:
    """Return a layer's configuration."""
    return {"class_name": class_name, "config": {"name": name, **config}}


def tensor(name: str, node: int = 0, result: int = 0) -> dict[str, Any]:
    """Return a tensor as Keras 3 writes it. Keras reads its history only, so the shape stays open."""
    history = {"shape": [None], "dtype": "float32", "keras_history": [name, node, result]}
    return {"class_name": "__keras_tensor__", "config": history}


def member(config: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a layer of a Functional model that is called once, or an InputLayer, which is not."""
    nodes = [{"args": list(args), "kwargs": kwargs}] if args else []
    return {**config, "name": config["config"]["name"], "inbound_nodes": nodes}


def model(name: Any, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a Functional model from its first layer to its last."""
    ends = {"input_layers": [layers[0]["name"], 0, 0], "output_layers": [layers[-1]["name"], 0, 0]}
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **ends}}


def _stem(config: dict[str, Any], default: str) -> str:
    name = config.get("name")
    return name if isinstance(name, str) else default


def _dense(config: dict[str, Any], found: Findings, **others: Any) -> dict[str, Any]:
    made = {
        "units": config.get("output_dim", config.get("units")),
        "use_bias": config.get("bias", config.get("use_bias", True)),
        "kernel_initializer": objects.converted("initializers", config.get("init", "glorot_uniform")),
        "kernel_regularizer": objects.converted("regularizers", config.get("W_regularizer")),
        "bias_regularizer": objects.converted("regularizers", config.get("b_regularizer")),
        "kernel_constraint": objects.converted("constraints", config.get("W_constraint")),
        "bias_constraint": objects.converted("constraints", config.get("b_constraint")),
        "activation": objects.activation(config.get("activation"), found, config.get("name")),
        "trainable": config.get("trainable", True),
    }
    return made | others


def _maxout(config: dict[str, Any], width: int | None, found: Findings) -> dict[str, Any]:  # noqa: ARG001 - as each maker
    name, units, count = _stem(config, "maxoutdense"), config.get("output_dim"), config.get("nb_feature", 4)
    found.changed("MaxoutDense became a Dense layer, of whose groups of units the largest is taken", name)
    whole = units * count if isinstance(units, int) and isinstance(count, int) else units
    layers = [
        layer("Dense", "dense", **_dense({**config, "output_dim": whole, "activation": "linear"}, found)),
        layer("Reshape", "groups", target_shape=[count, units]),
        layer("GlobalMaxPooling1D", "largest"),
    ]
    return {"class_name": "Sequential", "config": {"name": name, "layers": layers}}


def _highway(config: dict[str, Any], width: int | None, found: Findings) -> dict[str, Any]:
    name = _stem(config, "highway")
    size = config.get("input_dim") or width
    if size is None:
        return {"class_name": "Highway", "config": config}
    found.changed("Highway became a small model of two Dense layers, a gate and a sum", name)
    dense = _dense({**config, "output_dim": size}, found)
    # Apart, so that both Dense layers are as far from the end: Keras then has `transform` first, as the files have it.
    activation = dense.pop("activation")
    # From 1.2.1 on, Keras 1 had no transform_bias any more, and began with ones. It never regularized the gate.
    bias = {"class_name": "Constant", "config": {"value": config.get("transform_bias", 1.0)}}
    plain = {key: value for key, value in dense.items() if not key.endswith(("_regularizer", "_constraint"))}
    gate = {**plain, "activation": "sigmoid", "bias_initializer": bias}
    layers = [
        member(layer("InputLayer", "in", batch_shape=[None, size])),
        member(layer("Dense", "transform", **dense), tensor("in")),
        member(layer("Dense", "gate", **gate), tensor("in")),
        member(layer("Rescaling", "rest", scale=-1.0, offset=1.0), tensor("gate")),
        member(layer("Activation", "activated", activation=activation), tensor("transform")),
        member(layer("Multiply", "transformed"), [tensor("activated"), tensor("gate")]),
        member(layer("Multiply", "carried"), [tensor("in"), tensor("rest")]),
        member(layer("Add", "out"), [tensor("transformed"), tensor("carried")]),
    ]
    return model(name, layers)


def _fourier(config: dict[str, Any], width: int | None, found: Findings) -> dict[str, Any]:
    name, kernel = _stem(config, "random_fourier_features"), config.get("kernel_initializer", "gaussian")
    if width is None or kernel != "gaussian":
        return {"class_name": "RandomFourierFeatures", "config": config}
    found.changed(
        "RandomFourierFeatures became a Dense layer that is not trained and a cosine; its scale is in the kernel", name
    )
    scale = config.get("scale") or math.sqrt(width / 2)
    dense = {
        "units": config.get("output_dim"),
        "trainable": False,
        "kernel_initializer": {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1 / scale}},
        "bias_initializer": {"class_name": "RandomUniform", "config": {"minval": 0.0, "maxval": 2 * math.pi}},
    }
    cosine = {"class_name": "Cos", "module": "keras.src.ops.numpy", "config": {"name": "cosine"}}
    layers = [
        member(layer("InputLayer", "in", batch_shape=[None, width])),
        member(layer("Dense", "features", **dense), tensor("in")),
        member(cosine, tensor("features")),
    ]
    return model(name, layers)


#: How each of them is made.
MAKERS: dict[str, Maker] = {"MaxoutDense": _maxout, "Highway": _highway, "RandomFourierFeatures": _fourier}
