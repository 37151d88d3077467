"""What single classes of layers need besides new names: values and defaults that meant something else. Pure."""

from collections.abc import Callable
from typing import Any

from shared.dialects import values
from shared.dialects.findings import Findings

_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})
_STATEFUL = (
    "stateful became false: jobs are trained in shuffled batches and resumed, where state between batches has no "
    "meaning"
)
_MODE_1 = (
    "BatchNormalization of mode 1, which normalizes each sample, became LayerNormalization; it adds epsilon before "
    "the root only, so the last digits differ"
)
_MODE_2 = (
    "BatchNormalization of mode 2 became the usual one: it predicts with the moving averages, not with those of the "
    "batch"
)


def before(old: str, config: dict[str, Any], found: Findings) -> None:
    """Mend the arguments under their old names."""
    name = config.get("name")
    if old == "InputLayer":
        _input_layer(config, found)
    if "forget_bias_init" in config:
        config["unit_forget_bias"] = config.pop("forget_bias_init") != "zero"
    if old == "Embedding" and config.pop("dropout", 0):
        found.changed("The dropout of an Embedding's rows was dropped; Keras 3 has none", name)
    if old.startswith("Deconvolution"):
        config.pop("output_shape", None)
    if old == "ThresholdedReLU":
        config.setdefault("theta", 1.0)
        config.pop("alpha", None)
    if old == "LeakyReLU" and "negative_slope" not in config:
        config.setdefault("alpha", 0.3)
    if old == "Attention" and config.get("causal") is True:
        found.changed(
            "The causal mask of an Attention layer was dropped; Keras 3 takes it when the layer is called", name
        )
    if old in {"Attention", "AdditiveAttention"}:
        config.pop("causal", None)


def after(old: str, new: str, config: dict[str, Any], found: Findings) -> None:
    """Mend the arguments under their new names."""
    if old.startswith("CuDNN"):
        config.update({"activation": "tanh", "recurrent_activation": "sigmoid"})
    if new == "GRU":
        config.setdefault("reset_after", old == "CuDNNGRU")
    if new == "GRUCell":
        config.setdefault("reset_after", False)
    if new in _RECURRENT and config.get("stateful"):
        config["stateful"] = False
        found.changed(_STATEFUL, config.get("name"))
    if new in _MENDERS:
        _MENDERS[new](config, found)


def layer_normalized(config: dict[str, Any], found: Findings) -> dict[str, Any] | None:
    """Return the layer that a BatchNormalization of mode 1 becomes, or None for another mode."""
    if config.get("mode") != 1:
        return None
    found.changed(_MODE_1, config.get("name"))
    return {key: config[key] for key in ("axis", "epsilon", "name", "trainable") if key in config}


def _batch_normalization(config: dict[str, Any], found: Findings) -> None:
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if config.pop("mode", 0) == 2:  # noqa: PLR2004 - Keras 1's own number
        found.changed(_MODE_2, config.get("name"))


def _zero_padding(config: dict[str, Any], found: Findings) -> None:  # noqa: ARG001 - as each mender
    padding = config.get("padding")
    if isinstance(padding, dict):
        sides = (("top_pad", "bottom_pad"), ("left_pad", "right_pad"))
        config["padding"] = [[padding.get(side, 0) for side in pair] for pair in sides]
    elif isinstance(padding, list) and len(padding) == 4:  # noqa: PLR2004 - top, bottom, left, right
        config["padding"] = [padding[:2], padding[2:]]
    elif isinstance(padding, list) and len(padding) == 1:
        config["padding"] = padding[0]


def _one_size(config: dict[str, Any], found: Findings) -> None:  # noqa: ARG001 - as each mender
    for key in ("size", "cropping"):
        if isinstance(config.get(key), list) and len(config[key]) == 1:
            config[key] = config[key][0]


def _dot(config: dict[str, Any], found: Findings) -> None:  # noqa: ARG001 - as each mender
    axes = config.get("axes")
    if isinstance(axes, list) and all(isinstance(axis, list) and len(axis) == 1 for axis in axes):
        config["axes"] = [axis[0] for axis in axes]


def _input_layer(config: dict[str, Any], found: Findings) -> None:
    shape = config.pop("batch_input_shape", None)
    own = config.pop("input_shape", None)
    if shape is None and isinstance(own, list):
        shape = [None, *own]
    if (sizes := values.shape(shape)) is not None:
        config["batch_shape"] = sizes
    if "input_dtype" in config:
        config.setdefault("dtype", config.pop("input_dtype"))
    if config.pop("ragged", None):
        found.changed("A ragged input became a plain one", config.get("name"))


_MENDERS: dict[str, Callable[[dict[str, Any], Findings], None]] = {
    "BatchNormalization": _batch_normalization,
    "Dot": _dot,
    "UpSampling1D": _one_size,
    "ZeroPadding1D": _zero_padding,
    "ZeroPadding2D": _zero_padding,
}
