"""Which operations of `keras.ops` may stand in a Functional model, with which arguments. Pure.

Keras 3 writes an operation on tensors (`x + 3`, `x[:, 0]`) as a layer of a Functional model. Those here compute
numbers from numbers; none takes a function, reads a file or draws random numbers.
"""

import re
from typing import Any

from shared.allowlist.arguments import DTYPES, NAME
from shared.allowlist.forms import Wrong
from shared.allowlist.values import (
    DIM_MOST,
    Either,
    Flag,
    Many,
    Nested,
    Real,
    Shape,
    Text,
    Value,
    Whole,
    Word,
    maybe,
    shown,
)
from shared.jsontext import escaped

_AXIS = Whole(-8, 8)
_AXES = maybe(Either(_AXIS, Many(_AXIS, 8)))
_NUMBER = Real(-1e12, 1e12)
_DTYPE = maybe(Word(DTYPES))
_COUNTS = Either(Whole(1, 1024), Many(Whole(1, 1024), 8))
_CHANNELS = maybe(Word(("channels_last", "channels_first")))

_ARGUMENTS: dict[str, Value] = {
    "alpha": _NUMBER,
    "approximate": Flag(),
    "axes": _AXES,
    "axis": _AXES,
    "axis1": _AXIS,
    "axis2": _AXIS,
    "block_size": Whole(1, 64),
    "data_format": _CHANNELS,
    "decimals": Whole(-8, 8),
    "destination": Either(_AXIS, Many(_AXIS, 8)),
    "dtype": _DTYPE,
    "epsilon": _NUMBER,
    "indices_or_sections": Either(Whole(1, DIM_MOST), Many(Whole(0, DIM_MOST), 1024)),
    "initial": maybe(_NUMBER),
    "k": Whole(-DIM_MOST, DIM_MOST),
    "keepdims": Flag(),
    "mode": Word(("constant", "reflect", "symmetric")),
    "negative_slope": _NUMBER,
    "newshape": Either(Whole(-1, DIM_MOST), Shape(free=True)),
    "num": maybe(Whole(1, 1024)),
    "num_classes": Whole(1, DIM_MOST),
    "order": Either(Whole(1, 8), _NUMBER),
    "pad_width": Nested(Whole(0, 1024), 2),
    "repeats": _COUNTS,
    "shape": Shape(free=True),
    "shift": Either(Whole(-DIM_MOST, DIM_MOST), Many(Whole(-DIM_MOST, DIM_MOST), 8)),
    "sorted": Flag(),
    "source": Either(_AXIS, Many(_AXIS, 8)),
    "sparse": maybe(Flag()),
    "subscripts": Text(re.compile(r"[a-zA-Z.]{1,24}(?:,[a-zA-Z.]{1,24}){0,3}->[a-zA-Z.]{0,24}"), "an einsum equation"),
    "threshold": _NUMBER,
    "x_max": maybe(_NUMBER),
    "x_min": maybe(_NUMBER),
}

_NUMPY = "keras.src.ops.numpy"
_NN = "keras.src.ops.nn"
_CORE = "keras.src.ops.core"
_MATH = "keras.src.ops.math"
_PLAIN = (
    "Abs Absolute Add Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Ceil Cos Cosh Divide DivideNoNan Dot Equal "
    "Exp Expm1 Floor FloorDivide GetItem Greater GreaterEqual Isfinite Less LessEqual Log Log10 Log1p Log2 Logaddexp "
    "LogicalAnd LogicalNot LogicalOr Matmul Maximum Minimum Mod Multiply Negative NotEqual Power Reciprocal Sign Sin "
    "Sinh Sqrt Square Subtract Tan Tanh TrueDivide Where"
)
_REDUCED = "All Amax Amin Any Argmax Argmin Mean Std Var Sum"
_ACTIVATIONS = (
    "HardSigmoid HardSilu HardTanh LogSigmoid Relu Relu6 Selu Sigmoid Silu Softplus Softsign TanhShrink SparseSigmoid "
    "SparsePlus"
)

#: Each operation's module and arguments.
OPERATIONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_PLAIN.split(), (_NUMPY, "")),
    **dict.fromkeys(_REDUCED.split(), (_NUMPY, "axis keepdims")),
    **dict.fromkeys(("Max", "Min"), (_NUMPY, "axis keepdims initial")),
    **dict.fromkeys(("Average", "Concatenate", "ExpandDims", "Flip", "Squeeze", "Stack", "Take"), (_NUMPY, "axis")),
    **dict.fromkeys(_ACTIVATIONS.split(), (_NN, "")),
    **dict.fromkeys(("Glu", "LogSoftmax", "Softmax", "Sparsemax"), (_NN, "axis")),
    **dict.fromkeys(("Celu", "Elu"), (_NN, "alpha")),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), (_NN, "block_size data_format")),
    **dict.fromkeys(("Cumprod", "Cumsum"), (_NUMPY, "axis dtype")),
    **dict.fromkeys(("OnesLike", "ZerosLike"), (_NUMPY, "dtype")),
    **dict.fromkeys(("Erf", "Rsqrt"), (_MATH, "")),
    "BroadcastTo": (_NUMPY, "shape"),
    "Cast": (_CORE, "dtype"),
    "Clip": (_NUMPY, "x_min x_max"),
    "Einsum": (_NUMPY, "subscripts"),
    "Gelu": (_NN, "approximate"),
    "LeakyRelu": (_NN, "negative_slope"),
    "Logsumexp": (_MATH, "axis keepdims"),
    "Moveaxis": (_NUMPY, "source destination"),
    "Normalize": (_NN, "axis order epsilon"),
    "OneHot": (_NN, "num_classes axis dtype sparse"),
    "Pad": (_NUMPY, "pad_width mode"),
    "Prod": (_NUMPY, "axis keepdims dtype"),
    "Repeat": (_NUMPY, "repeats axis"),
    "Reshape": (_NUMPY, "newshape"),
    "Roll": (_NUMPY, "shift axis"),
    "Round": (_NUMPY, "decimals"),
    "Split": (_NUMPY, "indices_or_sections axis"),
    "StopGradient": (_CORE, ""),
    "Swapaxes": (_NUMPY, "axis1 axis2"),
    "Tile": (_NUMPY, "repeats"),
    "Transpose": (_NUMPY, "axes"),
    "Tril": (_NUMPY, "k"),
    "Triu": (_NUMPY, "k"),
    "Unstack": (_CORE, "num axis"),
}


def is_operation(value: Any) -> bool:
    """Return whether a layer of a Functional model is an operation."""
    module = value.get("module") if isinstance(value, dict) else None
    return isinstance(module, str) and module.startswith("keras.src.ops")


def checked(value: dict[str, Any], pointer: str, wrong: Wrong) -> dict[str, Any] | None:
    """Return the checked configuration of an operation, or None after saying what is wrong."""
    name, config = value.get("class_name"), value.get("config")
    if not isinstance(name, str) or name not in OPERATIONS:
        wrong(pointer, f"The operation {shown(name)} is not allowed; use a layer (Add, Rescaling …).")
        return None
    module, arguments = OPERATIONS[name]
    if value["module"] != module or value.get("registered_name") not in (None, name):
        wrong(f"{pointer}/module", f"The operation {name} is in {module}.")
        return None
    if not isinstance(config, dict):
        wrong(f"{pointer}/config", f"The config of {name} must be an object.")
        return None
    made: dict[str, Any] = {}
    for key, item in config.items():
        kind = NAME if key == "name" else _ARGUMENTS[key] if key in arguments.split() else None
        if kind is None:
            wrong(f"{pointer}/config/{escaped(key)}", f"{name} has no argument {shown(key)}.")
        elif not kind.accepts(item):
            wrong(f"{pointer}/config/{key}", f"{key} must be {kind.says}, not {shown(item)}.")
        else:
            made[key] = item
    return {"module": module, "class_name": name, "config": made, "registered_name": name}
