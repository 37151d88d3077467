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
    **{name: (_NN, name.capitalize()) for name in ("relu6", "sigmoid", "softplus", "softsign", "elu", "selu")},
    "silu": (_NN, "Silu"),
    "swish": (_NN, "Silu"),
    "stop_gradient": (_CORE, "StopGradient"),
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
#: Keywords that an operation may leave out where they say no more than this; None stands for whatever they say.
_HARMLESS: dict[str, tuple[Any, ...] | None] = {
    "validate_indices": None,
    "output_type": None,
    "data_format": ("NHWC", "NWC", "NDHWC", "channels_last"),
    "half_pixel_centers": (True,),
    **dict.fromkeys(("on_value", "alpha", "beta"), (1,)),
    **dict.fromkeys(("off_value", "constant_values", "batch_dims"), (0,)),
    **dict.fromkeys(("exclusive", "reverse", "align_corners", "preserve_aspect_ratio", "conjugate"), (False,)),
    **dict.fromkeys(("adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse", "keepdims", "keep_dims"), (False,)),
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
    """Return an operation's module, class and arguments, and its call; None where it says less than the function."""
    kwargs = {key: value for key, value in call.kwargs.items() if key != "name" and value is not None}
    made = _maker(_short(function), call, kwargs)
    return made if all(key in _HARMLESS and _is_harmless(key, value) for key, value in kwargs.items()) else None


def _is_harmless(key: str, value: Any) -> bool:
    values = _HARMLESS[key]
    return values is None or value in values


def _maker(name: str, call: Call, kwargs: dict[str, Any]) -> _Made | None:
    """Return what `_operation` does; take from `kwargs` what it says."""
    first, rest = _first(call, kwargs)
    if name in _BINARY:
        return _with_constant(name, first, rest, kwargs) or _binary(name, first, rest, kwargs)
    if name in _UNARY and not rest:
        module, class_name = _UNARY[name]
        return module, class_name, {}, Call([first], {})
    if name in _REDUCE:
        return _reduced(name, first, rest, kwargs)
    return _OTHERS[name](first, rest, kwargs) if name in _OTHERS else None


def _reduced(name: str, first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("axis", "keepdims"), rest, kwargs, dimension="axis", keep_dims="keepdims")
    if given is None:
        return None
    whole = 0 if name in {"argmax", "argmin"} else None
    arguments = {"axis": given.get("axis", whole), "keepdims": bool(given.get("keepdims"))}
    return _MATH if name == "reduce_logsumexp" else _NUMPY, _REDUCE[name], arguments, Call([first], {})


def _given(names: tuple[str, ...], rest: list[Any], kwargs: dict[str, Any], **others: str) -> dict[str, Any] | None:
    """Take arguments out of a call: by their places, or by these or `others` names; None where too many have places."""
    if len(rest) > len(names):
        return None
    found = dict(zip(names, rest, strict=False))
    return found | {others.get(key, key): kwargs.pop(key) for key in (*names, *others) if key in kwargs}


def _short(function: str) -> str:
    return function.rpartition(".")[2].strip("_").lower()


def _first(call: Call, kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    if call.args:
        return call.args[0], call.args[1:]
    key = next((key for key in _FIRST if key in kwargs), None)
    return (kwargs.pop(key) if key else None), []


def _binary(name: str, first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    if kwargs.pop("transpose_a", False) and kwargs.pop("transpose_b", False):
        return None
    kwargs.pop("transpose_b", None)
    if isinstance(first, list) and len(first) == 2 and not rest:  # noqa: PLR2004 - both sides as tensors
        first, rest = first[0], [first[1]]
    key = next((key for key in ("y", "b", "divisor") if key in kwargs), None)
    second = rest[0] if rest else kwargs.pop(key) if key else None
    if second is None or isinstance(first, list) or isinstance(second, list):
        return None
    return _NUMPY, _BINARY[name], {}, Call([first, second], {})


def _with_constant(name: str, first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    """Return arithmetic with one number for each channel, as a Normalization; None for anything else."""
    key = "y" if "y" in kwargs else "bias"
    numbers = rest[0] if rest else kwargs.get(key)
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
    kwargs.pop(key, None)
    return _LAYERS, "Normalization", {"axis": -1, "mean": mean, "variance": variance}, Call([first], {})


def _one(module: str, class_name: str, **pairs: str) -> Callable[..., _Made | None]:
    """Return the maker of an operation whose arguments TensorFlow calls otherwise: `new="old"`, in its order."""
    names = {old: new for new, old in pairs.items()}

    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        given = _given(tuple(names), rest, kwargs)
        if given is None:
            return None
        return module, class_name, {names[old]: value for old, value in given.items()}, Call([first], {})

    return make


def _axis(class_name: str, other: str) -> Callable[..., _Made | None]:
    """Return the maker of an operation on an axis, which TensorFlow 1 called otherwise."""

    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        given = _given(("axis",), rest, kwargs, **{other: "axis"})
        return None if given is None else (_NUMPY, class_name, given, Call([first], {}))

    return make


def _slice(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    spec = rest[0] if rest else kwargs.pop("slice_spec", None)
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
    given = _given(("clip_value_min", "clip_value_max"), rest, kwargs)
    if given is None:
        return None
    arguments = {"x_min": given.get("clip_value_min"), "x_max": given.get("clip_value_max")}
    return _NUMPY, "Clip", arguments, Call([first], {})


def _normalize(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("axis", "epsilon"), rest, kwargs)
    if given is None:
        return None
    arguments = {"axis": given.get("axis", -1), "order": 2, "epsilon": given.get("epsilon", 1e-12)}
    return _NN, "Normalize", arguments, Call([first], {})


def _resize(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("size", "method"), rest, kwargs) or {}
    size, antialias = given.get("size"), kwargs.pop("antialias", False)
    if not isinstance(size, list) or len(size) != 2:  # noqa: PLR2004 - height and width
        return None
    method = given.get("method", "bilinear")
    arguments = {"height": size[0], "width": size[1], "interpolation": method, "antialias": antialias}
    return _LAYERS, "Resizing", arguments, Call([first], {})


def _blocks(class_name: str) -> Callable[..., _Made | None]:
    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        size = rest[0] if rest else kwargs.pop("block_size", None)
        return _NN, class_name, {"block_size": size}, Call([first], {})

    return make


def _split(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("num_or_size_splits", "axis"), rest, kwargs) or {}
    kwargs.pop("num", None)
    sizes = given.get("num_or_size_splits")
    if isinstance(sizes, list):
        if not all(type(size) is int and size > 0 for size in sizes):
            return None
        sizes = list(itertools.accumulate(sizes))[:-1]
    return _NUMPY, "Split", {"indices_or_sections": sizes, "axis": given.get("axis", 0)}, Call([first], {})


def _where(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    x, y = (*rest, None, None)[:2] if rest else (kwargs.pop("x", None), kwargs.pop("y", None))
    return None if x is None or y is None else (_NUMPY, "Where", {}, Call([first, x, y], {}))


def _gather(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    indices, axis = rest[0] if rest else kwargs.pop("indices", None), kwargs.pop("axis", None)
    if isinstance(indices, list) or indices is None:
        return None
    return _NUMPY, "Take", {"axis": 0 if axis is None else axis}, Call([first, indices], {})


def _pool(kind: str) -> Callable[..., _Made | None]:
    """Return the maker of a pooling layer, for images with their channels last."""

    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
        given = _given(("ksize", "strides", "padding"), rest, kwargs) or {}
        windows = [given.get(key) for key in ("ksize", "strides")]
        sizes = [window[1:3] if isinstance(window, list) else window for window in windows]
        if not isinstance(given.get("padding"), str):
            return None
        arguments = {"pool_size": sizes[0], "strides": sizes[1], "padding": given["padding"].lower()}
        return _LAYERS, f"{kind}Pooling2D", arguments, Call([first], {})

    return make


def _relu(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    """Return the operation, or the layer where it has arguments of `keras.activations.relu`."""
    given = _given(("alpha", "max_value", "threshold"), rest, kwargs, negative_slope="alpha")
    if not given:
        return None if given is None else (_NN, "Relu", {}, Call([first], {}))
    names = {"alpha": "negative_slope"}
    return _LAYERS, "ReLU", {names.get(key, key): value for key, value in given.items()}, Call([first], {})


def _pad(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("paddings", "mode", "constant_values"), rest, kwargs)
    if given is None or given.get("constant_values") not in (None, 0):
        return None
    mode = str(given.get("mode", "constant")).lower()
    return _NUMPY, "Pad", {"pad_width": given.get("paddings"), "mode": mode}, Call([first], {})


def _gelu(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    """Return the operation; TensorFlow's is exact unless asked, that of Keras 3 is not."""
    approximate = rest[0] if rest else kwargs.pop("approximate", False)
    return _NN, "Gelu", {"approximate": approximate}, Call([first], {})


def _one_hot(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:
    given = _given(("depth", "on_value", "off_value", "axis"), rest, kwargs)
    if given is None or given.get("on_value") not in (None, 1) or given.get("off_value") not in (None, 0):
        return None
    return _NN, "OneHot", {"num_classes": given.get("depth"), "axis": given.get("axis", -1)}, Call([first], {})


def _layer(class_name: str) -> Callable[..., _Made | None]:
    def make(first: Any, rest: list[Any], kwargs: dict[str, Any]) -> _Made | None:  # noqa: ARG001 - as each maker
        return _LAYERS, class_name, {}, Call([first], {})

    return make


_OTHERS: dict[str, Callable[..., _Made | None]] = {
    "getitem": _slice,
    "relu": _relu,
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
    "unstack": _one(_CORE, "Unstack", num="num", axis="axis"),
    "broadcast_to": _one(_NUMPY, "BroadcastTo", shape="shape"),
    "roll": _one(_NUMPY, "Roll", shift="shift", axis="axis"),
    "cumprod": _one(_NUMPY, "Cumprod", axis="axis"),
    "resize": _resize,
    "resize_images_v2": _resize,
    "depth_to_space": _blocks("DepthToSpace"),
    "space_to_depth": _blocks("SpaceToDepth"),
    "concat": _one(_NUMPY, "Concatenate", axis="axis"),
    "stack": _one(_NUMPY, "Stack", axis="axis"),
    "reshape": _one(_NUMPY, "Reshape", newshape="shape"),
    "transpose": _one(_NUMPY, "Transpose", axes="perm"),
    "expand_dims": _axis("ExpandDims", "dim"),
    "squeeze": _axis("Squeeze", "squeeze_dims"),
    "cast": _one(_CORE, "Cast", dtype="dtype"),
    "tile": _one(_NUMPY, "Tile", repeats="multiples"),
    "pad": _pad,
    "repeat": _one(_NUMPY, "Repeat", repeats="repeats", axis="axis"),
    "softmax": _one(_NN, "Softmax", axis="axis"),
    "log_softmax": _one(_NN, "LogSoftmax", axis="axis"),
    "leaky_relu": _one(_NN, "LeakyRelu", negative_slope="alpha"),
    "gelu": _gelu,
    "one_hot": _one_hot,
    "cumsum": _one(_NUMPY, "Cumsum", axis="axis"),
    "reverse": _one(_NUMPY, "Flip", axis="axis"),
}
