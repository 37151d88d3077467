"""TensorFlowOpLayer: one node of a TensorFlow graph that tf.keras 2.0 to 2.3 wrote into a model. Pure.

The node is a protocol buffer, as JSON or as its text; what it is called with stands beside it, as numbers.
"""

import re
from typing import Any

from shared.dialects.nodes import Call
from shared.errors import BadSpec
from shared.jsontext import parsed

#: Operations whose later inputs are arguments of TensorFlow's function: their names, in order.
_INPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "ArgMax", "ArgMin", "Squeeze", "ExpandDims"), ("axis",)),
    "Reshape": ("shape",),
    "Transpose": ("perm",),
    "Tile": ("multiples",),
    "Pad": ("paddings",),
    "ResizeBilinear": ("size",),
    "ResizeNearestNeighbor": ("size",),
}
_NAMES = {
    "ConcatV2": "concat",
    "Pack": "stack",
    "ExpandDims": "expand_dims",
    "LeakyRelu": "leaky_relu",
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "StridedSlice": "getitem",
    "LogSoftmax": "log_softmax",
    "ResizeBilinear": "resize",
    "ResizeNearestNeighbor": "resize",
    "DepthToSpace": "depth_to_space",
}
_TYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_INT64": "int64", "DT_BOOL": "bool", "DT_HALF": "float16"}
_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def read(config: dict[str, Any], calls: list[Call]) -> tuple[str, list[Call]]:
    """Return the function of TensorFlow that a node is, and its calls with the function's arguments."""
    node = config.get("node_def")
    text = node if isinstance(node, str) else ""
    attributes = _Attributes(node if isinstance(node, dict) else _json(text), text)
    operation = attributes.operation
    constants = config.get("constants") if isinstance(config.get("constants"), dict) else {}
    made = [_call(operation, call, constants or {}, attributes) for call in calls]
    return _NAMES.get(operation, operation.lower()), made


def _json(text: str) -> dict[str, Any]:
    try:
        value = parsed(text)
    except BadSpec:
        return {}
    return value if isinstance(value, dict) else {}


class _Attributes:
    """The attributes of a node, whichever way it is written."""

    def __init__(self, value: dict[str, Any], text: str) -> None:
        """Take both forms; one of them is empty."""
        self._value, self._text = value, text
        found = re.search(r'\bop:\s*"(\w+)"', text)
        self.operation = str(value.get("op") or (found[1] if found else ""))

    def get(self, name: str) -> Any:
        """Return an attribute's number, flag, text or list of numbers; None where there is none."""
        attributes = self._value.get("attr")
        held = attributes.get(name) if isinstance(attributes, dict) else None
        if isinstance(held, dict):
            many = held.get("list")
            if isinstance(many, dict):
                listed = many.get("i")
                return [_number(item) for item in listed] if isinstance(listed, list) else []
            return next((_number(held[key]) for key in ("i", "b", "f", "type", "s") if key in held), None)
        pattern = rf'key:\s*"{name}"\s*value\s*\{{\s*(list\s*\{{)?\s*((?:(?:i|b|f|type|s):\s*\S+\s*)*)'
        found = re.search(pattern, self._text)
        numbers = [_number(item) for item in re.findall(r":\s*(\S+)", found[2])] if found else []
        return numbers if found and found[1] else numbers[0] if numbers else None

    def whole(self, name: str) -> int:
        """Return an attribute's whole number; 0 where there is none."""
        found = self.get(name)
        return found if isinstance(found, int) else 0


def _number(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d{1,15}\.\d{1,15}(e-?\d{1,2})?", text) else text.strip('"')


def _call(operation: str, call: Call, constants: dict[str, Any], attributes: _Attributes) -> Call:
    inputs = call.args[0] if call.args and isinstance(call.args[0], list) else list(call.args)
    inputs = list(inputs)
    for place in sorted(constants, key=lambda key: (len(key), key)):
        if place.isdecimal():
            inputs.insert(min(int(place), len(inputs)), constants[place])
    if operation == "ConcatV2" and inputs:
        return Call([inputs[:-1]], {"axis": inputs[-1]})
    if operation == "Pack":
        return Call([inputs], {"axis": attributes.get("axis") or 0})
    if operation == "StridedSlice":
        return Call(inputs[:1], {"slice_spec": _spec(inputs[1:4], attributes)})
    kwargs = dict(zip(_INPUTS.get(operation, ()), inputs[1:], strict=False))
    for new, old in (
        ("keepdims", "keep_dims"),
        ("squeeze_dims", "squeeze_dims"),
        ("alpha", "alpha"),
        ("block_size",) * 2,
        ("exclusive",) * 2,
        ("reverse",) * 2,
        ("align_corners",) * 2,
        ("half_pixel_centers",) * 2,
    ):
        if (held := attributes.get(old)) is not None:
            kwargs[new] = held
    if operation == "Cast":
        kwargs["dtype"] = _TYPES.get(str(attributes.get("DstT")), attributes.get("DstT"))
    if operation == "ResizeNearestNeighbor":
        kwargs["method"] = "nearest"
    return Call(inputs[:1] if operation in _INPUTS or operation == "Cast" else inputs, kwargs)


def _spec(bounds: list[Any], attributes: _Attributes) -> Any:
    """Return a slice's parts; None, which nothing takes, for one that is not plain."""
    if len(bounds) != 3 or not all(isinstance(bound, list) for bound in bounds):  # noqa: PLR2004 - begin, end, step
        return None
    begin, end, ellipsis, new_axis, shrink = (attributes.whole(mask) for mask in _MASKS)
    parts: list[Any] = []
    for index, (start, stop, step) in enumerate(zip(*bounds, strict=False)):
        bit = 1 << index
        if new_axis & bit:
            parts.append(None)
        elif ellipsis & bit:
            parts.append("...")
        elif shrink & bit:
            parts.append(start)
        else:
            parts.append({"start": None if begin & bit else start, "stop": None if end & bit else stop, "step": step})
    return parts
