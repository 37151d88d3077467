"""Layers that merge others, of Keras 0 and 1 and of Keras's own applications, as those of Keras 3. Pure."""

from typing import Any

from shared.dialects.findings import Findings, Placed

_PLAIN = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}
_COSINE = (
    "A Merge of mode cos became Dot of normalized tensors, and an axis of 1 behind the batch; for tensors of more than "
    "two axes Keras 1 divided by other numbers"
)


def merged(config: dict[str, Any], found: Findings) -> dict[str, Any]:
    """Return what a Merge layer becomes; one whose mode is code stays a Merge, which is refused."""
    mode, name = config.get("mode", "sum"), config.get("name")
    named = {"name": name} if isinstance(name, str) else {}
    if config.get("mode_type", "raw") != "raw" or not isinstance(mode, str):
        return {"class_name": "Lambda", "config": named}
    if mode == "cos":
        return _cosine({**named, "axes": _axes(config.get("dot_axes", -1)), "normalize": True}, found)
    made: dict[str, Any] | None = None
    if mode in _PLAIN:
        made = {"class_name": _PLAIN[mode], "config": named}
    elif mode == "concat":
        made = {"class_name": "Concatenate", "config": {**named, "axis": config.get("concat_axis", -1)}}
    elif mode == "dot":
        made = {"class_name": "Dot", "config": {**named, "axes": _axes(config.get("dot_axes", -1))}}
    if made is None:
        return {"class_name": "Merge", "config": named}
    found.changed(f"A Merge of mode {mode} became {made['class_name']}", name)
    return made


def scaled(config: dict[str, Any], found: Findings) -> dict[str, Any]:
    """Return what InceptionResNetV2's CustomScaleLayer becomes: the first tensor, and the second times a number."""
    found.changed("A CustomScaleLayer became Rescaling and Add", config.get("name"))
    made = Placed({"class_name": "Add", "config": {"name": config.get("name")}}, "")
    made.first = 1, {"class_name": "Rescaling", "config": {"scale": config.get("scale"), "offset": 0.0}}
    return made


def _cosine(dot: dict[str, Any], found: Findings) -> Placed:
    found.changed(_COSINE, dot.get("name"))
    made = Placed({"class_name": "Dot", "config": dot}, "")
    made.then = {"class_name": "ExpandDims", "module": "keras.src.ops.numpy", "config": {"axis": 1}}
    return made


def _axes(axes: Any) -> Any:
    """Return the axes of a dot product: Keras 1 allowed one list for each side, each of one axis."""
    if isinstance(axes, list) and all(isinstance(axis, list) and len(axis) == 1 for axis in axes):
        return [axis[0] for axis in axes]
    return axes
