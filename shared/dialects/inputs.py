"""The shape that goes into a model, read off what older Keras versions wrote on its first layer. Pure."""

from typing import Any

from shared.dialects import layers, values

#: Layers that see a sequence: their input_dim is that of one step.
_SEQUENCES = frozenset(
    {"LSTM", "GRU", "SimpleRNN", "Convolution1D", "Conv1D", "TimeDistributedDense", "Bidirectional", "CuDNNLSTM"}
    | {"CuDNNGRU", "AtrousConvolution1D", "MaxPooling1D", "LocallyConnected1D"}
)
#: Layers whose output's last axis is their input's.
_SAME = frozenset(
    {
        "Activation",
        "Dropout",
        "BatchNormalization",
        "LayerNormalization",
        "GaussianNoise",
        "GaussianDropout",
        "LeakyReLU",
    }
    | {"ReLU", "ELU", "PReLU", "Softmax", "Masking", "Highway", "AlphaDropout", "SpatialDropout1D", "RepeatVector"}
    | {"ActivityRegularization", "ThresholdedReLU", "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D"}
    | {"GlobalAveragePooling1D", "UpSampling1D", "ZeroPadding1D", "Cropping1D"}
    | {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Rescaling"}
)


def shape_of(layer: Any) -> list[Any] | None:
    """Return the batch shape that a first layer asks for, or None."""
    if not isinstance(layer, dict):
        return None
    name = (layers.name_of(layer) or "").rpartition(".")[2]
    if layers.is_model(layer):
        return _of_model(layer)
    config = layers.config_of(layer)[0]
    for key in ("batch_input_shape", "batch_shape"):
        if (found := values.shape(values.unwrapped(config.get(key)))) is not None:
            return found
    if (found := values.shape(values.unwrapped(config.get("input_shape")))) is not None:
        return [None, *found]
    if name == "Embedding":
        length = config.get("input_length")
        return [None, *(length if isinstance(length, list) else [length])]
    if isinstance(config.get("input_dim"), int):
        steps = [config.get("input_length")] if name in _SEQUENCES else []
        return [None, *steps, config["input_dim"]]
    return _of_wrapped(name, config)


def _of_wrapped(name: str, config: dict[str, Any]) -> list[Any] | None:
    inner = config.get("layer")
    if name not in {"Bidirectional", "TimeDistributed"} or not isinstance(inner, dict):
        return None
    shape = shape_of(inner)
    if shape is None or name == "Bidirectional":
        return shape
    return [shape[0], None, *shape[1:]]


def _of_model(value: dict[str, Any]) -> list[Any] | None:
    """Return the shape that a nested model takes; None when it takes several or does not say."""
    config = value.get("config", value)
    members = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    if not isinstance(members, list) or not members:
        return None
    ends = config.get("input_layers") if isinstance(config, dict) else None
    if ends is None:
        return shape_of(members[0])
    starts = [item for item in members if isinstance(item, dict) and item.get("class_name") == "InputLayer"]
    return shape_of(starts[0]) if len(starts) == 1 else None


def dtype_of(layer: Any) -> str:
    """Return the data type of a first layer's input, as far as it is a number's."""
    config = layers.config_of(layer)[0] if isinstance(layer, dict) and not layers.is_model(layer) else {}
    found = values.dtype(config.get("input_dtype", config.get("dtype", "float32")))
    return found if isinstance(found, str) and not found.startswith("mixed") else "float32"


def is_input(layer: dict[str, Any]) -> bool:
    """Return whether a converted layer is an InputLayer."""
    return layer.get("class_name") == "InputLayer"


def starts(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configurations of a converted model's InputLayers, in order."""
    config = model.get("config")
    members = config.get("layers") or [] if isinstance(config, dict) else []
    return [dict(item["config"]) for item in members if isinstance(item, dict) and is_input(item)]


def width(layer: dict[str, Any], before: int | None) -> int | None:
    """Return the last axis of a converted layer's output, where that can be told; `before` is that of its input."""
    name, config = layer.get("class_name"), layer.get("config")
    if not isinstance(config, dict):
        return None
    if name in _SAME:
        return before
    if name == "InputLayer" and isinstance(config.get("batch_shape"), list):
        last = config["batch_shape"][-1] if config["batch_shape"] else None
        return last if isinstance(last, int) else None
    if name == "Reshape" and isinstance(config.get("target_shape"), list):
        last = config["target_shape"][-1] if config["target_shape"] else None
        return last if isinstance(last, int) and last > 0 else None
    if name == "TimeDistributed" and isinstance(config.get("layer"), dict):
        return width(config["layer"], before)
    if name == "Bidirectional" and isinstance(config.get("layer"), dict):
        one = width(config["layer"], before)
        return one and (2 * one if config.get("merge_mode", "concat") == "concat" else one)
    if name in {"Functional", "Sequential"}:
        return _of_last(config, before)
    size = config.get("units", config.get("output_dim", config.get("filters")))
    return size if isinstance(size, int) else None


def _of_last(config: dict[str, Any], before: int | None) -> int | None:
    """Return the last axis of what a small chain of layers gives."""
    found = before
    for layer in config.get("layers") or []:
        if isinstance(layer, dict):
            found = width(layer, found)
    return found
