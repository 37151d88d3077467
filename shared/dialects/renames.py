"""Classes and arguments that older Keras versions called differently. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from shared.allowlist.lookup import Entry
from shared.allowlist.values import Ref, Value

_RANKS = (1, 2, 3)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?(e-?\d{1,2})?")

#: Keras 3's name of a class. Those that `allowlist.catalog.OTHER_NAMES` knows are not repeated.
CLASSES: dict[str, str] = {
    **{f"Deconvolution{rank}D": f"Conv{rank}DTranspose" for rank in _RANKS},
    **{f"AtrousConvolution{rank}D": f"Conv{rank}D" for rank in _RANKS},
    **{f"AtrousConv{rank}D": f"Conv{rank}D" for rank in _RANKS},
    **dict.fromkeys(("CuDNNLSTM", "UnifiedLSTM", "LSTMV1", "LSTMV2"), "LSTM"),
    **dict.fromkeys(("CuDNNGRU", "UnifiedGRU", "GRUV1", "GRUV2"), "GRU"),
    **dict.fromkeys(("BatchNormalizationV1", "BatchNormalizationV2"), "BatchNormalization"),
    **dict.fromkeys(("SyncBatchNormalization", "BatchNormalizationBase"), "BatchNormalization"),
    "TimeDistributedDense": "Dense",
    "ThresholdedReLU": "ReLU",
    **dict.fromkeys(("RandomHeight", "RandomWidth"), "RandomZoom"),
    # The Dropout of the package `efficientnet`, which only let its noise_shape be written.
    "FixedDropout": "Dropout",
    "ParametricReLU": "PReLU",
}

#: What an argument may be called in Keras 3: the first of these names that the class takes.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "init": ("kernel_initializer", "embeddings_initializer", "alpha_initializer", "depthwise_initializer"),
    "W_regularizer": ("kernel_regularizer", "embeddings_regularizer"),
    "W_constraint": ("kernel_constraint", "embeddings_constraint"),
    "b_regularizer": ("bias_regularizer",),
    "b_constraint": ("bias_constraint",),
    "U_regularizer": ("recurrent_regularizer",),
    "U_constraint": ("recurrent_constraint",),
    "inner_init": ("recurrent_initializer",),
    "inner_activation": ("recurrent_activation",),
    "dropout_W": ("dropout",),
    "dropout_U": ("recurrent_dropout",),
    "bias": ("use_bias",),
    "output_dim": ("units",),
    "p": ("rate",),
    "sigma": ("stddev",),
    "nb_filter": ("filters",),
    "filter_length": ("kernel_size",),
    "pool_length": ("pool_size",),
    "length": ("size",),
    "border_mode": ("padding",),
    "subsample": ("strides",),
    "subsample_length": ("strides",),
    "stride": ("strides",),
    "dim_ordering": ("data_format",),
    "atrous_rate": ("dilation_rate",),
    "alpha": ("negative_slope",),
    "theta": ("threshold",),
    "gamma_init": ("gamma_initializer",),
    "beta_init": ("beta_initializer",),
    "dims": ("target_shape",),
    "concat_axis": ("axis",),
    "dot_axes": ("axes",),
    "max_tokens": ("num_tokens",),
}

#: Arguments that say nothing any more: hints to old backends, and shapes that the model's inputs now say.
STALE = frozenset(
    {"implementation", "consume_less", "input_dtype", "batch_input_shape", "input_shape", "input_dim", "input_length"}
    | {"custom_name", "cache_enabled", "truncate_gradient", "dynamic", "autocast", "fused", "virtual_batch_size"}
    | {"adjustment", "states", "supports_masking", "expects_training_arg", "input_spec", "zero_output_for_mask"}
    | {"query_shape", "key_shape", "value_shape", "reverse_state_order", "num_constants", "batch_size"}
    | {"ignore_border", "target", "weights", "noise_shape", "dtype_policy", "stateful", "layers", "trainable"}
    | {"rng_type"}
)
#: What single classes wrote besides, for nothing.
STRAY: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
        frozenset({"kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters", "groups"}),
    ),
    **{f"Conv{rank}DTranspose": frozenset({"groups", "output_shape"}) for rank in _RANKS},
    **{f"ConvLSTM{rank}D": frozenset({"groups"}) for rank in _RANKS},
}

_VALUES: dict[str, dict[str, Any]] = {
    "data_format": {"th": "channels_first", "tf": "channels_last", "default": None},
    "output_mode": {"binary": "multi_hot", "tf-idf": "tf_idf"},
}


def arguments(entry: Entry, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a class's arguments under Keras 3's names, without those that say nothing, and `{new name: old name}`."""
    made: dict[str, Any] = {}
    names: dict[str, str] = {}
    for old, value in _joined(config).items():
        new = old if old in entry.arguments else _new(entry, old)
        if new is None:
            if not _says_nothing(entry, old, value):
                made[old] = value
            continue
        if new != old:
            if new in config:
                continue
            names[new] = old
        known = _VALUES.get(new, {}).get(value, value) if isinstance(value, str) else value
        made[new] = _taken(entry.arguments[new], known)
    if isinstance(made.get("padding"), str):
        made["padding"] = made["padding"].lower()
    return made, names


def _taken(kind: Value | Ref, value: Any) -> Any:
    """Return a number that was written as text, or a whole one with a point, as the argument takes it."""
    if isinstance(kind, Ref) or kind.accepts(value):
        return value
    return next((one for one in _numbers(value) if kind.accepts(one)), value)


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from ([int(one) if _is_whole(one) else one for one in value],)
    if _is_whole(value):
        yield int(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = float(value)
        yield from (int(number), number) if number.is_integer() else (number,)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _new(entry: Entry, old: str) -> str | None:
    return next((new for new in ARGUMENTS.get(old, ()) if new in entry.arguments), None)


def _says_nothing(entry: Entry, name: str, value: Any) -> bool:
    trivial = value is None or value is False or value in ([], {}, "")
    return trivial or name in STALE or name in STRAY.get(entry.name, ()) or name in _JOINED


_JOINED = frozenset({"nb_row", "nb_col", "kernel_dim1", "kernel_dim2", "kernel_dim3"})


def _joined(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with a kernel's sizes, once one argument for each axis, as one."""
    for parts in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if all(part in config for part in parts):
            return {**config, "kernel_size": [config[part] for part in parts]}
    return config
