"""Initializers, regularizers, constraints and activations of Keras 0 to 2, as Keras 3 writes them. Pure."""

import re
from typing import Any

from shared.allowlist.lookup import find
from shared.dialects.findings import Findings

#: Classes that were called differently.
_CLASSES: dict[str, dict[str, str]] = {
    "initializers": {
        "Zero": "Zeros",
        "One": "Ones",
        "Uniform": "RandomUniform",
        "Normal": "RandomNormal",
        "he_uniform_v2": "HeUniform",
    },
    "regularizers": {
        **dict.fromkeys(("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer", "l1l2", "L1L2"), "L1L2"),
        "l1_l2": "L1L2",
    },
    "constraints": {
        "maxnorm": "MaxNorm",
        "nonneg": "NonNeg",
        "unitnorm": "UnitNorm",
        "NonNegative": "NonNeg",
        "min_max_norm": "MinMaxNorm",
    },
}
#: Arguments of Keras 3's classes that were called differently.
_NAMES: dict[str, dict[str, str]] = {
    "constraints": {"m": "max_value", "low": "min_value", "high": "max_value"},
    "initializers": {},
    "regularizers": {},
}
#: Arguments that say nothing any more.
_STALE = frozenset({"dtype", "verify_shape", "partition_info", "uses_learning_phase", "name", "k", "hasL1", "hasL2"})
_LEGACY_SUFFIX = re.compile(r"(?:V[12]|_v[12]|Initializer|_initializer)$")

#: `clip(0.2 x + 0.5, 0, 1)`, in parts that Keras 3 has. Its own hard_sigmoid is `relu6(x + 3) / 6`.
HARD_SIGMOID: dict[str, Any] = {
    "class_name": "Pipeline",
    "config": {
        "name": "hard_sigmoid_keras2",
        "layers": [
            {"class_name": "Rescaling", "config": {"name": "slope", "scale": 0.2, "offset": 0.5}},
            {"class_name": "ReLU", "config": {"name": "clip", "max_value": 1.0}},
        ],
    },
}
_HARD = (
    "hard_sigmoid is written as clip(0.2 x + 0.5, 0, 1), the function of Keras 1 and 2; Keras 3's function of that "
    "name is another"
)
#: Names of functions that were written otherwise.
_FUNCTIONS = {
    "softmax_v2": "softmax",
    "leaky_relu_v2": "leaky_relu",
    "relu_v2": "relu",
    "log_softmax_v2": "log_softmax",
    "hardSigmoid": "hard_sigmoid",
    "gelu_v2": "gelu",
    "sigmoid_v2": "sigmoid",
    "swish_v2": "swish",
    "swish_impl": "swish",
    "_linear": "linear",
    "identity": "linear",
}


def converted(kind: str, value: Any) -> Any:
    """Return an initializer, a regularizer or a constraint as Keras 3 writes it; what is not known stays as it is."""
    if isinstance(value, str):
        return _class(kind, value)
    if not isinstance(value, dict):
        return value
    name, config = value.get("class_name"), value.get("config")
    if name is None and isinstance(value.get("name"), str):
        # Keras 0 and 1: the arguments beside the name.
        name, config = value["name"], {key: item for key, item in value.items() if key != "name"}
    if not isinstance(name, str) or not isinstance(config, dict | None):
        return value
    name = _class(kind, name)
    entry = find(kind, name)
    arguments = {_NAMES[kind].get(key, key): item for key, item in (config or {}).items()}
    if entry is None:
        return {**value, "class_name": name}
    kept = {key: item for key, item in arguments.items() if key in entry.arguments or not _is_stale(key, item)}
    return {"class_name": entry.name, "config": kept}


def _is_stale(key: str | None, value: Any) -> bool:
    return key in _STALE or value is None


def _class(kind: str, name: str) -> str:
    short = name.rpartition(".")[2]
    for known in (short, _LEGACY_SUFFIX.sub("", short)):
        found = _CLASSES[kind].get(known, known)
        if find(kind, found):
            return found
    return name


def activation(value: Any, found: Findings, layer: object) -> Any:
    """Return an activation given by name as Keras 3 has it: a name, or the layers that do the same."""
    name = _function(value)
    if name is None:
        return value
    name = _FUNCTIONS.get(name, name)
    if name == "hard_sigmoid":
        found.changed(_HARD, layer)
        return HARD_SIGMOID
    return name


def _function(value: Any) -> str | None:
    if isinstance(value, str):
        return value.rpartition(".")[2]
    if isinstance(value, dict) and value.get("class_name") == "function" and isinstance(value.get("config"), str):
        known = value.get("registered_name") in (None, "function", value["config"])
        return value["config"] if known else None
    return None
