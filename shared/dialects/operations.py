"""TensorFlow's functions in the graphs of tf.keras, as operations of Keras 3 (`keras.ops`). Pure.

tf.keras 2.4 and later wrote TFOpLambda and SlicingOpLambda, earlier versions TensorFlowOpLayer.
"""

import itertools
from collections.abc import Callable
from typing import Any

from shared.dialects import layers, nodedefs, values
from shared.dialects.findings import Findings, Placed
from shared.dialects.nodes import Call

_CLASSES = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
_NUMPY = "keras.src.ops.numpy"
_NN = "keras.src.ops.nn"
_CORE = "keras.src.ops.core"
_MATH = "keras.src.ops.math"
_LAYERS = "keras.layers"

_BINARY = {
    **dict.fromkeys(("add", "addv2", "bias_add", "biasadd"), "Add"),
    **dict.fromkeys(("subtract", "sub", "squared_difference"), "Subtract"),
    **dict.fromkeys(("multiply", "mul"), "Multiply"),
    **dict.fromkeys(("divide", "truediv", "realdiv", "div"), "TrueDivide"),
    "pow": "Power",
    "maximum": "Maximum",
    "minimum": "Minimum",
    "floordiv": "FloorDivide",
    "mod": "Mod",
    "floormod": "Mod",
    "matmul": "Matmul",
    "batchmatmulv2": "Matmul",
    "greater": "Greater",
    "less": "Less",
    "greater_equal": "GreaterEqual",
    "less_equal": "LessEqual",
    "equal": "Equal",
    "not_equal": "NotEqual",
    "logical_and": "LogicalAnd",
    "logical_or": "LogicalOr",
    "divide_no_nan": "DivideNoNan",
    "gt": "Greater",
    "lt": "Less",
    "ge": "GreaterEqual",
    "le": "LessEqual",
}
_UNARY = {
    **{name: (_NUMPY, name.capitalize()) for name in ("abs", "cos", "exp", "floor", "log", "sign", "sin", "sqrt")},
    **{name: (_NUMPY, name.capitalize()) for name in ("square", "tanh", "round", "reciprocal", "log1p", "ceil", "tan")},
    **{name: (_NUMPY, name.capitalize()) for name in ("cosh", "sinh", "expm1")},
    **{name: (_NUMPY, f"Arc{name[1:]}") for name in ("acos", "asin", "atan", "acosh", "asinh", "atanh")},
    "negative": (_NUMPY, "Negative"),
    "neg": (_NUMPY, "Negative"),
    "rsqrt": (_MATH, "Rsqrt"),
    "erf": (_MATH, "Erf"),
    "logical_not": (_NUMPY, "LogicalNot"),
    "zeros_like": (_NUMPY, "ZerosLike"),
    "ones_like": (_NUMPY, "OnesLike"),
    **{name: (_NN, name.capitalize()) for name in ("relu", "relu6", "sigmoid", "softplus", "softsign", "elu", "selu")},
    "silu": (_NN, "Silu"),
    "swish": (_NN, "Silu"),
    "stop_gradient": (_CORE, "StopGradient"),
    "hard_sigmoid": (_NN, "HardSigmoid"),
}
_REDUCE = {
    "reduce_mean": "Mean",
    "mean": "Mean",
    "reduce_sum": "Sum",
    "sum": "Sum",
    "reduce_max": "Max",
    "max": "Max",
    "reduce_min": "Min",
    "min": "Min",
    "reduce_prod": "Prod",
    "prod": "Prod",
    "reduce_std": "Std",
    "reduce_variance": "Var",
    "argmax": "Argmax",
    "argmin": "Argmin",
    "reduce_any": "Any",
    "reduce_all": "All",
    "reduce_logsumexp": "Logsumexp",
}
#: Where the tensor of a function stands, if not first.
_FIRST = ("x", "input", "tensor", "input_tensor", "features", "logits", "a", "values", "t", "params", "images", "value")


def is_operation(item: dict[str, Any]) -> bool:
    """Return whether a layer of a Functional model is a function of TensorFlow, or an operation of Keras 3."""
    module = item.get("module")
    if isinstance(module, str) and module.startswith("keras.src.ops"):
        return True
    return str(item.get("class_name")) in _CLASSES | {"TensorFlowOpLayer"}


def converted(item: dict[str, Any], place: str, calls: list[Call], found: Findings) -> Placed:
    """Return the operation of Keras 3 that a function of TensorFlow is; one that is not known stays as it is."""
    config = values.unwrapped(layers.config_of(item)[0])
    if isinstance(item.get("module"), str) and item["module"].startswith("keras.src.ops"):
        kept = {"class_name": item.get("class_name"), "module": item["module"], "config": dict(config)}
        return _with_calls(kept, place, calls)
    function = config.get("function")
    if item["class_name"] == "TensorFlowOpLayer":
        function, calls = nodedefs.read(config, calls)
    results = [_operation(str(function), call) for call in calls]
    known = [one for one in results if one is not None]
    name = {"name": config.get("name", item.get("name"))}
    if not known or len(known) < len(results) or any(one[1:3] != known[0][1:3] for one in known):
        label = f" {function!s:.60}" if function else ""
        found.wrong(
            place,
            f"Layer {name['name']!r:.80} calls TensorFlow's function{label}, which has no counterpart "
            "that is allowed here: put built-in layers in its place.",
        )
        tensors = [Call([_first(call, dict(call.kwargs))[0]], {}) for call in calls]
        return _with_calls({"class_name": "Identity", "config": name}, place, tensors)
    module, class_name, arguments, _ = known[0]
    found.changed(f"TensorFlow's {function!s:.60} became the operation {class_name}", name["name"])
    operation = {"class_name": class_name, "config": {**name, **arguments}}
    if module != _LAYERS:
        operation["module"] = module
    made = _with_calls(operation, place, [one[3] for one in known])
    made.first, made.then = _neighbours(str(function), calls)
    return made


def _neighbours(function: str, calls: list[Call]) -> tuple[tuple[int, dict[str, Any]] | None, dict[str, Any] | None]:
    """Return the operation through which one argument goes first, and the one that takes the result."""
    name, kwargs = _short(function), calls[0].kwargs
    if name == "squared_difference":
        return None, {"class_name": "Square", "module": _NUMPY, "config": {}}
    side = next((side for side, key in enumerate(("transpose_a", "transpose_b")) if kwargs.get(key)), None)
    if name == "matmul" and side is not None:
        return (side, {"class_name": "Swapaxes", "module": _NUMPY, "config": {"axis1": -2, "axis2": -1}}), None
    return None, None


def _with_calls(made: dict[str, Any], place: str, calls: list[Call]) -> Placed:
    wired = [{"args": call.args, "kwargs": call.kwargs} for call in calls]
    return Placed({**made, "inbound_nodes": wired}, place)


_Made = tuple[str, str, dict[str, Any], Call]


def _operation(function: str, call: Call) -> _Made | None:
    """Return an operation's module, class and arguments, and its call, or None."""
    name = _short(function)
    kwargs = {key: value for key, value in call.kwargs.items() if key != "name" and value is not None}
    first, rest = _first(call, kwargs)
    if name in _BINARY:
        return _with_constant(name, first, rest, kwargs) or _binary(name, first, rest, kwargs)
    if name in _UNARY:
        module, class_name = _UNARY[name]
        return module, class_name, {}, Call([first], {})
    if name in _REDUCE:
        axis = rest[0] if rest else kwargs.get("axis", kwargs.get("dimension"))
        keep = bool(kwargs.get("keepdims", kwargs.get("keep_dims", False)))
        return (
            _MATH if name == "reduce_logsumexp" else _NUMPY,
            _REDUCE[name],
            {"axis": axis, "keepdims": keep},
            Call([first], {}),
        )
    return _OTHERS[name](first, rest, kwargs) if name in _OTHERS else None


def _short(function: str) -> str:
    return function.rpartition(".")[2].strip("_").lower()


def _first(call: Call, kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    if call.args:
        return call.args[0], call.args[1:]
    key = next((key for key in _FIRST if key in kwargs), None)
    return (kwargs.pop(key) if key else None), []


def _binary(name: str, first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    if (kwargs.get("transpose_a") and kwargs.get("transpose_b")) or kwargs.get("adjoint_a") or kwargs.get("adjoint_b"):
        return None
    if isinstance(first, list) and len(first) == 2 and not rest:  # noqa: PLR2004 - both sides as tensors
        first, rest = first[0], [first[1]]
    second = rest[0] if rest else kwargs.get("y", kwargs.get("b", kwargs.get("divisor")))
    if second is None or isinstance(first, list) or isinstance(second, list):
        return None
    return _NUMPY, _BINARY[name], {}, Call([first, second], {})


def _with_constant(name: str, first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    """Return arithmetic with one number for each channel, as a Normalization; None for anything else."""
    numbers = rest[0] if rest else kwargs.get("y", kwargs.get("bias"))
    if not isinstance(numbers, list) or not numbers or not all(type(item) in (int, float) for item in numbers):
        return None
    if _BINARY[name] in {"Add", "Subtract"}:
        sign = -1 if _BINARY[name] == "Add" else 1
        mean, variance = [sign * item for item in numbers], [1.0] * len(numbers)
    elif _BINARY[name] in {"Multiply", "TrueDivide"} and min(numbers) > 0:
        power = -2 if _BINARY[name] == "Multiply" else 2
        mean, variance = [0.0] * len(numbers), [float(item) ** power for item in numbers]
    else:
        return None
    return _LAYERS, "Normalization", {"axis": -1, "mean": mean, "variance": variance}, Call([first], {})


def _one(module: str, class_name: str, **pairs: tuple[str, ...]) -> Callable[..., _Made | None]:
    """Return the maker of an operation whose arguments are called otherwise in TensorFlow: `new=(old, …)`."""

    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        given = dict(zip((olds[0] for olds in pairs.values()), rest, strict=False)) | kwargs
        arguments = {new: given[old] for new, olds in pairs.items() for old in olds if old in given}
        return module, class_name, arguments, Call([first], {})

    return make


def _slice(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    spec = rest[0] if rest else kwargs.get("slice_spec")
    if isinstance(spec, dict) or not isinstance(spec, list):
        spec = [spec]
    return _NUMPY, "GetItem", {}, Call([first, [_part(part) for part in spec]], {})


def _part(part: Any) -> Any:
    if isinstance(part, dict) and {"start", "stop", "step"} & set(part):
        config = {key: part.get(key) for key in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": config}
    if part == "..." or (isinstance(part, dict) and "llipsis" in str(part.get("class_name"))):
        return {"class_name": "__ellipsis__", "config": {}}
    return part


def _clip(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    low, high = [*rest, kwargs.get("clip_value_min"), kwargs.get("clip_value_max")][:2]
    return _NUMPY, "Clip", {"x_min": low, "x_max": high}, Call([first], {})


def _normalize(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    axis = rest[0] if rest else kwargs.get("axis", -1)
    arguments = {"axis": axis, "order": 2, "epsilon": kwargs.get("epsilon", 1e-12)}
    return _NN, "Normalize", arguments, Call([first], {})


def _resize(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    size, method = rest[0] if rest else kwargs.get("size"), kwargs.get("method", "bilinear")
    if not isinstance(size, list) or len(size) != 2:  # noqa: PLR2004 - height and width
        return None
    arguments = {
        "height": size[0],
        "width": size[1],
        "interpolation": method,
        "antialias": kwargs.get("antialias", False),
    }
    return _LAYERS, "Resizing", arguments, Call([first], {})


def _blocks(class_name: str) -> Callable[..., _Made | None]:
    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        size = rest[0] if rest else kwargs.get("block_size")
        return _NN, class_name, {"block_size": size}, Call([first], {})

    return make


def _split(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = dict(zip(("num_or_size_splits", "axis"), rest, strict=False)) | kwargs
    sizes = given.get("num_or_size_splits")
    if isinstance(sizes, list):
        if not all(type(size) is int and size > 0 for size in sizes):
            return None
        sizes = list(itertools.accumulate(sizes))[:-1]
    return _NUMPY, "Split", {"indices_or_sections": sizes, "axis": given.get("axis", 0)}, Call([first], {})


def _where(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    x, y = (*rest, None, None)[:2] if rest else (kwargs.get("x"), kwargs.get("y"))
    return None if x is None or y is None else (_NUMPY, "Where", {}, Call([first, x, y], {}))


def _gather(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    indices, axis = rest[0] if rest else kwargs.get("indices"), kwargs.get("axis")
    if isinstance(indices, list) or indices is None or kwargs.get("batch_dims"):
        return None
    return _NUMPY, "Take", {"axis": 0 if axis is None else axis}, Call([first, indices], {})


def _pool(kind: str) -> Callable[..., _Made | None]:
    """Return the maker of a pooling layer, for images with their channels last."""

    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        given = dict(zip(("ksize", "strides", "padding"), rest, strict=False)) | kwargs
        windows = [given.get(key) for key in ("ksize", "strides")]
        sizes = [window[1:3] if isinstance(window, list) else window for window in windows]
        if given.get("data_format", "NHWC") != "NHWC" or not isinstance(given.get("padding"), str):
            return None
        arguments = {"pool_size": sizes[0], "strides": sizes[1], "padding": given["padding"].lower()}
        return _LAYERS, f"{kind}Pooling2D", arguments, Call([first], {})

    return make


def _layer(class_name: str) -> Callable[..., _Made | None]:
    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:  # noqa: ARG001 - as each maker
        return _LAYERS, class_name, {}, Call([first], {})

    return make


_OTHERS: dict[str, Callable[..., _Made | None]] = {
    "getitem": _slice,
    "clip_by_value": _clip,
    "l2_normalize": _normalize,
    "identity": _layer("Identity"),
    "convert_to_tensor": _layer("Identity"),
    "batch_flatten": _layer("Flatten"),
    "add_n": _layer("Add"),
    "split": _split,
    "where": _where,
    "where_v2": _where,
    "gather": _gather,
    "max_pool2d": _pool("Max"),
    "maxpool": _pool("Max"),
    "avg_pool2d": _pool("Average"),
    "avg_pool": _pool("Average"),
    "avgpool": _pool("Average"),
    "unstack": _one(_CORE, "Unstack", num=("num",), axis=("axis",)),
    "broadcast_to": _one(_NUMPY, "BroadcastTo", shape=("shape",)),
    "roll": _one(_NUMPY, "Roll", shift=("shift",), axis=("axis",)),
    "cumprod": _one(_NUMPY, "Cumprod", axis=("axis",)),
    "resize": _resize,
    "resize_images_v2": _resize,
    "depth_to_space": _blocks("DepthToSpace"),
    "space_to_depth": _blocks("SpaceToDepth"),
    "concat": _one(_NUMPY, "Concatenate", axis=("axis",)),
    "stack": _one(_NUMPY, "Stack", axis=("axis",)),
    "reshape": _one(_NUMPY, "Reshape", newshape=("shape",)),
    "transpose": _one(_NUMPY, "Transpose", axes=("perm",)),
    "expand_dims": _one(_NUMPY, "ExpandDims", axis=("axis", "dim")),
    "squeeze": _one(_NUMPY, "Squeeze", axis=("axis", "squeeze_dims")),
    "cast": _one(_CORE, "Cast", dtype=("dtype",)),
    "tile": _one(_NUMPY, "Tile", repeats=("multiples",)),
    "pad": _one(_NUMPY, "Pad", pad_width=("paddings",)),
    "repeat": _one(_NUMPY, "Repeat", repeats=("repeats",), axis=("axis",)),
    "softmax": _one(_NN, "Softmax", axis=("axis",)),
    "log_softmax": _one(_NN, "LogSoftmax", axis=("axis",)),
    "leaky_relu": _one(_NN, "LeakyRelu", negative_slope=("alpha",)),
    "gelu": _one(_NN, "Gelu", approximate=("approximate",)),
    "one_hot": _one(_NN, "OneHot", num_classes=("depth",), axis=("axis",)),
    "cumsum": _one(_NUMPY, "Cumsum", axis=("axis",)),
    "reverse": _one(_NUMPY, "Flip", axis=("axis",)),
}
