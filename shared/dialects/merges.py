"""The Merge layer of Keras 0 and 1, as the merging layers of Keras 3. Pure."""

from typing import Any

from shared.dialects.findings import Findings

_PLAIN = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}


def merged(config: dict[str, Any], found: Findings) -> dict[str, Any]:
    """Return what a Merge layer becomes; one whose mode is code stays a Merge, which is refused."""
    mode, name = config.get("mode", "sum"), config.get("name")
    named = {"name": name} if isinstance(name, str) else {}
    if config.get("mode_type") == "lambda" or config.get("mode_type") == "function":
        return {"class_name": "Lambda", "config": named}
    made: dict[str, Any] | None = None
    if mode in _PLAIN:
        made = {"class_name": _PLAIN[mode], "config": named}
    elif mode == "concat":
        made = {"class_name": "Concatenate", "config": {**named, "axis": config.get("concat_axis", -1)}}
    elif mode in {"dot", "cos"}:
        axes = config.get("dot_axes", -1)
        made = {"class_name": "Dot", "config": {**named, "axes": _axes(axes), "normalize": mode == "cos"}}
    if made is None:
        return {"class_name": "Merge", "config": named}
    found.changed(f"A Merge of mode {mode} became {made['class_name']}", name)
    return made


def _axes(axes: Any) -> Any:
    """Return the axes of a dot product: Keras 1 allowed one list for each side, each of one axis."""
    if isinstance(axes, list) and all(isinstance(axis, list) and len(axis) == 1 for axis in axes):
        return [axis[0] for axis in axes]
    return axes
