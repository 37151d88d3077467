"""A layer of an older Keras that becomes several in a row in a Functional model. Pure."""

from collections.abc import Callable
from typing import Any

from shared.dialects.findings import Placed
from shared.dialects.subgraphs import tensor


def member(layer: dict[str, Any], args: list[Any]) -> dict[str, Any]:
    """Return a layer as a member of a model: called once, or not at all without `args`."""
    wired = {"name": layer["config"]["name"], "inbound_nodes": [{"args": args, "kwargs": {}}] if args else []}
    if isinstance(layer, Placed):
        layer.update(wired)
        return layer
    return {**layer, **wired}


def parts(layer: Any, free: Callable[[Any], str]) -> list[Any]:
    """Return the members that a member of a model becomes, in order. The last has its name; `free` names the others."""
    if not isinstance(layer, Placed):
        return [layer]
    made = [layer]
    if layer.first:
        made.insert(0, _ahead(layer, *layer.first, free))
    if layer.then:
        made.append(_behind(layer, layer.then, free))
    return made


def _ahead(layer: Placed, argument: int, first: dict[str, Any], free: Callable[[Any], str]) -> Placed:
    """Return a layer through which one argument of each call goes: one of `args`, or of the list that stands there."""
    name, tensors = free(_stem(layer, first)), []
    for call in layer["inbound_nodes"]:
        args = call["args"][0] if call["args"] and isinstance(call["args"][0], list) else call["args"]
        if len(args) > argument:
            tensors.append(args[argument])
            args[argument] = tensor(name, len(tensors) - 1)
    return _through(first, name, tensors, layer.place)


def _behind(layer: Placed, last: dict[str, Any], free: Callable[[Any], str]) -> Placed:
    """Return a layer that takes the layer's results, and its name."""
    own, name = layer["name"], free(_stem(layer, layer))
    layer["config"]["name"] = layer["name"] = name
    return _through(last, own, [tensor(name, call) for call in range(len(layer["inbound_nodes"]))], layer.place)


def _through(layer: dict[str, Any], name: str, tensors: list[Any], place: str) -> Placed:
    wired = [{"args": [one], "kwargs": {}} for one in tensors]
    config = {**layer["config"], "name": name}
    return Placed({**layer, "config": config, "name": name, "inbound_nodes": wired}, place)


def _stem(layer: Placed, other: dict[str, Any]) -> str:
    return f"{layer['name']}_{str(other['class_name']).lower()}"
