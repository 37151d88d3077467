"""A model's configuration in the dialect of Keras 2, which Keras 3 reads as well. Pure but for asking the model."""

import copy
from typing import Any

import keras
from keras.src.legacy.saving import saving_options, saving_utils

#: Arguments that Keras 2 does not know, and the values with which they may be left out.
_NEW: dict[str, tuple[Any, ...]] = {
    "autocast": (None, True),
    "flash_attention": (None, False),
    "input_axes": (None,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "optional": (False,),
    "output_axes": (None,),
    "quantization_config": (None,),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "rms_scaling": (False,),
    "sliding_window": (None,),
    "use_cudnn": ("auto",),
    "use_gate": (False,),
}
#: The same of layers that prepare images, for arguments that Keras 2 knows elsewhere.
_NEW_OF_IMAGES: dict[str, tuple[Any, ...]] = {
    "data_format": ("channels_last",),
    "value_range": ([0, 255], (0, 255)),
}
_NEW_OF_RESIZING: dict[str, tuple[Any, ...]] = {
    "antialias": (False,),
    "fill_mode": ("constant",),
    "fill_value": (0.0,),
    "pad_to_aspect_ratio": (False,),
}
#: Arguments of optimizers that the first Keras 2 did not know, and what they are unless told.
_MODERN: dict[str, Any] = {
    "clipnorm": None,
    "clipvalue": None,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "global_clipnorm": None,
    "gradient_accumulation_steps": None,
    "loss_scale_factor": None,
    "use_ema": False,
    "weight_decay": None,
}
#: Layers whose `seed` Keras 2 does not know; it draws other masks there anyway.
_UNSEEDED = frozenset(
    {"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "GRUCell", "LSTM", "LSTMCell", "MultiHeadAttention"}
    | {"SimpleRNN", "SimpleRNNCell"}
)
#: Arguments that have other names there.
_RENAMED = {("InputLayer", "batch_shape"): "batch_input_shape", ("LeakyReLU", "negative_slope"): "alpha"}


_TENSOR = "__keras_tensor__"


class _InexpressibleError(Exception):
    """The model uses what the old dialect has no words for."""


def attributes(model: Any, training: dict[str, Any]) -> dict[str, Any]:
    """Return `model_config` and `training_config` of an `.h5` file in the old dialect; nothing when it has no words.

    Keras 3 must be able to read what is returned: a model that only the new dialect describes keeps the new one.
    """
    try:
        config = _object({"class_name": type(model).__name__, "config": model.get_config()})
    except _InexpressibleError:
        return {}
    if not _is_read(config, model):
        return {}
    return {"model_config": config, "training_config": _training(training)}


def _training(training: dict[str, Any]) -> dict[str, Any]:
    optimizer = training["optimizer_config"]
    told = {key: one for key, one in optimizer["config"].items() if key not in _MODERN or one != _MODERN[key]}
    return _old({**training, "optimizer_config": {**optimizer, "config": told}})  # type: ignore[no-any-return]


def _is_read(config: dict[str, Any], model: Any) -> bool:
    """Whether Keras 3 makes the same variables of a configuration; nothing is allocated."""
    try:
        with (
            keras.StatelessScope(initialize_variables=False),
            saving_options.keras_option_scope(use_legacy_config=True),
        ):
            found = saving_utils.model_from_config(copy.deepcopy(config))
    except Exception:  # noqa: BLE001 - whatever it meets, the new dialect is there
        return False
    return [tuple(v.shape) for v in found.weights] == [tuple(v.shape) for v in model.weights]


def _old(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_old(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    if "class_name" in value and "config" in value:
        # Both Kerases look a wrapped layer up by its module.
        wrapped = {key: value[key] for key in ("module", "registered_name")} if _is_layer(value) else {}
        return _object(value) | wrapped
    return {key: _old(one) for key, one in value.items()}


def _is_layer(value: dict[str, Any]) -> bool:
    return value.get("module") == "keras.layers"


def _object(value: dict[str, Any]) -> dict[str, Any]:
    """Return a serialized object without what Keras 3 added to it."""
    name, config = value["class_name"], value["config"]
    if not isinstance(config, dict):
        raise _InexpressibleError
    made: dict[str, Any] = {"class_name": name, "config": _config(name, config)}
    if "inbound_nodes" in value:
        made |= {"name": value["name"], "inbound_nodes": [_node(node) for node in value["inbound_nodes"]]}
    return made


def _config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    if name == "Sequential":
        return {"name": config["name"], "layers": [_object(one) for one in config["layers"]]}
    if name == "Functional":
        return _graph(config)
    return {_RENAMED.get((name, key), key): _old(one) for key, one in config.items() if not _is_new(name, key, one)}


def _is_new(name: str, key: str, value: Any) -> bool:
    """Whether an argument is to be left out. Raise when it says what the old dialect cannot."""
    if key == "seed" and name in _UNSEEDED:
        return True
    known = _may_be_left_out(name).get(key)
    if known is not None and value not in known:
        raise _InexpressibleError
    return known is not None


def _may_be_left_out(name: str) -> dict[str, tuple[Any, ...]]:
    if name == "Resizing":
        return _NEW | _NEW_OF_IMAGES | _NEW_OF_RESIZING
    return _NEW | _NEW_OF_IMAGES if name.startswith("Random") or name == "CenterCrop" else _NEW


def _graph(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Functional model.

    Not of one that calls another model: Keras 2 counts such calls from 1 and Keras 3 from 0.
    """
    if any(one["class_name"] in {"Functional", "Sequential"} for one in config["layers"]):
        raise _InexpressibleError
    layers = [_object(one) for one in config["layers"]]
    ends = {key: _ends(config[key]) for key in ("input_layers", "output_layers")}
    return {"name": config["name"], "trainable": config.get("trainable", True), "layers": layers, **ends}


def _ends(ends: Any) -> list[Any]:
    """Return a model's inputs or outputs as a list of [layer, node, tensor]; Keras 3 writes a single one bare."""
    if isinstance(ends, dict):
        raise _InexpressibleError
    return [list(ends)] if ends and isinstance(ends[0], str) else [list(one) for one in ends]


def _node(node: dict[str, Any]) -> list[Any]:
    """Return one call of a layer: its input tensors, each with the call's other arguments."""
    (inputs, *others), kwargs = node["args"], {key: one for key, one in node["kwargs"].items() if one is not None}
    tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    if others or any(_holds_tensor(one) for one in kwargs.values()) or not all(map(_is_tensor, tensors)):
        raise _InexpressibleError
    return [[*one["config"]["keras_history"], _old(kwargs)] for one in tensors]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == _TENSOR


def _holds_tensor(value: Any) -> bool:
    if _is_tensor(value):
        return True
    return (
        any(map(_holds_tensor, value.values() if isinstance(value, dict) else value))
        if isinstance(value, (dict, list, tuple))
        else False
    )
