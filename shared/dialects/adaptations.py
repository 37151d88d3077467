"""What single classes of layers need besides new names: values and defaults that meant something else. Pure."""

from collections.abc import Callable
from typing import Any

from shared.dialects import nodes, values
from shared.dialects.findings import Findings

#: Changes the arguments of one layer in place.
Mender = Callable[[dict[str, Any], Findings], None]

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
    if "forget_bias_init" in config:
        config["unit_forget_bias"] = config.pop("forget_bias_init") != "zero"
    if old in _BEFORE:
        _BEFORE[old](config, found)


def after(old: str, new: str, config: dict[str, Any], found: Findings) -> None:
    """Mend the arguments under their new names."""
    if old.startswith("CuDNN"):
        config.update({"activation": "tanh", "recurrent_activation": "sigmoid"})
    if new == "GRU":
        config.setdefault("reset_after", old == "CuDNNGRU")
    if new == "GRUCell":
        config.setdefault("reset_after", False)
    if new in nodes.RECURRENT and config.get("stateful"):
        config["stateful"] = False
        found.changed(_STATEFUL, config.get("name"))
    if new in _MENDERS:
        _MENDERS[new](config, found)


def layer_normalized(config: dict[str, Any], found: Findings) -> dict[str, Any] | None:
    """Return the layer that a BatchNormalization of mode 1 becomes, or None for another mode."""
    if config.get("mode") != 1:
        return None
    found.changed(_MODE_1, config.get("name"))
    # Keras 1 normalized the last axis, whichever the argument named.
    return {key: config[key] for key in ("epsilon", "name", "trainable") if key in config}


def _embedding(config: dict[str, Any], found: Findings) -> None:
    if config.pop("dropout", 0):
        found.changed("The dropout of an Embedding's rows was dropped; Keras 3 has none", config.get("name"))


def _separable(config: dict[str, Any], found: Findings) -> None:  # noqa: ARG001 - as each mender
    if "init" in config:
        config["depthwise_initializer"] = config["pointwise_initializer"] = config.pop("init")


def _thresholded_relu(config: dict[str, Any], found: Findings) -> None:  # noqa: ARG001 - as each mender
    config.setdefault("theta", 1.0)
    config.pop("alpha", None)


def _attention(config: dict[str, Any], found: Findings) -> None:
    if config.pop("causal", False) is True:
        message = "The causal mask of an Attention layer was dropped; Keras 3 takes it when the layer is called"
        found.changed(message, config.get("name"))


def _fixed_dropout(config: dict[str, Any], found: Findings) -> None:
    found.changed("FixedDropout, of the package efficientnet, became Dropout", config.get("name"))


def _stretching(axis: str, other: str) -> Mender:
    """Return the mender of a layer that made images higher or wider at random: RandomZoom of that axis."""

    def mend(config: dict[str, Any], found: Findings) -> None:
        factor = config.pop("factor", None)
        # A positive factor of RandomZoom makes an image smaller.
        turned = [-factor[1], -factor[0]] if isinstance(factor, list) and len(factor) == 2 else factor  # noqa: PLR2004
        config.update({f"{axis}_factor": turned, f"{other}_factor": 0.0})
        found.changed(f"An image's random {axis} became RandomZoom of that axis: its size stays", config.get("name"))

    return mend


def _deconvolution(config: dict[str, Any], found: Findings) -> None:
    """Say the output's size, which Keras 1 took as a shape, by the padding that Keras 3 takes."""
    shape, same = values.shape(config.pop("output_shape", None)), config.get("border_mode") == "same"
    if shape is None or len(shape) != 4:  # noqa: PLR2004 - batch, two sides, channels
        return
    sides = shape[2:] if config.get("dim_ordering") == "th" else shape[1:3]
    kernel = (config.get("nb_row"), config.get("nb_col"))
    paddings: list[int | None] = []
    strides = config.get("subsample", 1)
    for side, size, stride in zip(sides, kernel, strides if isinstance(strides, list) else [strides] * 2, strict=False):
        paddings.append(_output_padding(side, size, stride, same=same))
    if any(padding is None for padding in paddings):
        found.changed("The output_shape of a Deconvolution2D was dropped: Keras 3 computes it", config.get("name"))
    else:
        config["output_padding"] = paddings


def _output_padding(side: Any, size: Any, stride: Any, *, same: bool) -> int | None:
    """Return the output padding that gives an output's side; None when none does."""
    if not (isinstance(side, int) and isinstance(size, int) and isinstance(stride, int) and stride > 0):
        return None
    steps = -(-side // stride) - 1 if same else (side - size) // stride
    padding = side - steps * stride - size + (2 * (size // 2) if same else 0)
    return padding if 0 <= padding < stride else None


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


_BEFORE: dict[str, Mender] = {
    **dict.fromkeys(("Attention", "AdditiveAttention"), _attention),
    **dict.fromkeys(("SeparableConvolution1D", "SeparableConvolution2D", "SeparableConv2D"), _separable),
    "Deconvolution2D": _deconvolution,
    "Embedding": _embedding,
    "FixedDropout": _fixed_dropout,
    "InputLayer": _input_layer,
    "RandomHeight": _stretching("height", "width"),
    "RandomWidth": _stretching("width", "height"),
    "ThresholdedReLU": _thresholded_relu,
}
_MENDERS: dict[str, Mender] = {
    "BatchNormalization": _batch_normalization,
    "Dot": _dot,
    "UpSampling1D": _one_size,
    "ZeroPadding1D": _zero_padding,
    "ZeroPadding2D": _zero_padding,
}
