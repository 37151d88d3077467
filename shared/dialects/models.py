"""Whole models of Keras 0 to 2 as Keras 3 writes them: Sequential, Functional, and Keras 0's Graph. Pure."""

from dataclasses import dataclass
from typing import Any

from shared.dialects import chains, graphs, inputs, joins, layers, nodes, operations, values
from shared.dialects.findings import Findings, Placed
from shared.dialects.names import Names
from shared.dialects.nodes import Call
from shared.dialects.subgraphs import tensor


def converted(value: dict[str, Any], pointer: str, found: Findings, *, data_format: str | None = None) -> Placed:
    """Return a model as Keras 3 writes it. `data_format` is that of image layers which do not say theirs."""
    return _Models(found, data_format).model(value, pointer)


@dataclass
class _Models:
    found: Findings
    data_format: str | None

    @property
    def tools(self) -> layers.Tools:
        return layers.Tools(self.found, self.model, self.data_format)

    def model(self, value: dict[str, Any], pointer: str) -> Placed:
        """Return a model, nested or not."""
        name = (layers.name_of(value) or "").rpartition(".")[2]
        config, inside = value.get("config"), "/config"
        if "class_name" not in value:
            config, inside = value, ""
        if isinstance(config, dict) and "node_config" in config:
            return graphs.converted(config, pointer + inside, self.tools)
        wired = layers.is_wired(config)
        if name == "Sequential" or (isinstance(config, list) and not wired):
            return self._sequential(config, pointer, inside)
        if not isinstance(config, dict) or not isinstance(config.get("layers"), list) or not wired:
            return Placed({"class_name": "Functional", "config": config}, pointer)
        if name not in layers.MODELS:
            self.found.changed(f"A model of class {name[:60]} is read as a plain Functional model", config.get("name"))
        return self._functional(config, pointer, inside)

    # Sequential.

    def _sequential(self, config: Any, pointer: str, inside: str) -> Placed:
        members = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
        around = {} if isinstance(config, list) or not isinstance(config, dict) else config
        place = f"{pointer}{inside}" if isinstance(config, list) else f"{pointer}{inside}/layers"
        name = around.get("name") if inside and isinstance(around.get("name"), str) else None
        kept = {key: around[key] for key in ("name", "trainable") if key in around and inside}
        if not isinstance(members, list):
            return Placed({"class_name": "Sequential", "config": {**kept, "layers": members}}, pointer)
        if joins.is_joined(members):
            return Placed(joins.converted(members, place, name or "sequential", self.tools), pointer)
        names = Names(self.found)
        stack: list[Any] = [start] if (start := self._start(members, around, names)) else []
        width = inputs.width(stack[0], None) if stack else None
        for index, item in enumerate(members):
            made = layers.converted(item, f"{place}/{index}", self.tools, width=width)
            if not isinstance(made, dict):
                stack.append(made)
                continue
            if inputs.is_input(made) and stack:
                self.found.changed("A second InputLayer in a row was dropped", made["config"].get("name"))
                continue
            names.give(made)
            width = inputs.width(made, width)
            stack.append(made)
        settings = {**kept, "layers": stack}
        return Placed({"class_name": "Sequential", "config": settings}, pointer)

    def _start(self, members: list[Any], around: dict[str, Any], names: Names) -> dict[str, Any] | None:
        """Return the InputLayer that a Sequential model lacks."""
        if not members or not isinstance(members[0], dict):
            return None
        first = members[0]
        if layers.name_of(first) == "InputLayer":
            return None
        shape = inputs.shape_of(first) or values.shape(values.unwrapped(around.get("build_input_shape")))
        if shape is None:
            return None
        own = layers.config_of(first)[0].get("name")
        name = names.free(f"{own}_input" if isinstance(own, str) else "input_layer")
        self.found.changed("The input shape of the first layer became an InputLayer", name)
        config = {"batch_shape": shape, "dtype": inputs.dtype_of(first), "name": name}
        return {"class_name": "InputLayer", "config": config}

    # Functional.

    def _functional(self, config: dict[str, Any], pointer: str, inside: str) -> Placed:
        raw = [item for item in config["layers"] if isinstance(item, dict)]
        names = Names(self.found)
        labels = [item.get("name", layers.config_of(item)[0].get("name")) for item in raw]
        renamed = {label: names.free(label) for label in labels if isinstance(label, str)}
        first = self._firsts(raw, labels, config)
        wiring = nodes.Wiring(renamed, first)
        widths: dict[str, int | None] = {}
        made = []
        for index, (item, label) in enumerate(zip(raw, labels, strict=True)):
            calls = [wiring.call(node) for node in _nodes(item)]
            place = f"{pointer}{inside}/layers/{index}"
            layer = self._wired(item, place, calls, _width(calls, widths))
            name = renamed.get(label) if isinstance(label, str) else None
            if isinstance(layer.get("config"), dict) and name:
                layer["config"]["name"] = name
            layer["name"] = name or label
            widths[str(layer["name"])] = inputs.width(layer, _width(calls, widths))
            made.append(layer)
        made = [part for layer in self._rooted(made, raw, names) for part in chains.parts(layer, names.free)]
        functional = {str(item["name"]) for item in made if item.get("class_name") == "Functional"}
        ends = {
            key: wiring.ends(config[key], lambda label: renamed.get(label) in functional)
            for key in ("input_layers", "output_layers")
        }
        kept = {key: config[key] for key in ("name", "trainable") if config.get(key) is not None}
        kept["name"] = Names(self.found).free(kept.get("name"), "model")
        return Placed({"class_name": "Functional", "config": {**kept, "layers": made, **ends}}, pointer)

    def _firsts(self, raw: list[dict[str, Any]], labels: list[Any], config: dict[str, Any]) -> dict[str, int]:
        members = {
            label: (layers.is_model(item), len(_nodes(item)))
            for item, label in zip(raw, labels, strict=True)
            if isinstance(label, str)
        }
        tensors = [item.get("inbound_nodes") for item in raw] + [config["input_layers"], config["output_layers"]]
        return nodes.firsts(members, tensors)

    def _wired(self, item: dict[str, Any], place: str, calls: list[Call], width: int | None) -> Placed:
        if operations.is_operation(item):
            return operations.converted(item, place, calls, self.found)
        layer = layers.converted(item, place, self.tools, width=width)
        made = layer if isinstance(layer, Placed) else Placed({"config": None, **item}, place)
        calls = [nodes.adapted(made.get("class_name"), call) for call in calls]
        made["inbound_nodes"] = [{"args": call.args, "kwargs": call.kwargs} for call in calls]
        return made

    def _rooted(self, made: list[Placed], raw: list[dict[str, Any]], names: Names) -> list[Any]:
        """Give a layer that begins a model an InputLayer of its own; drop one that is connected to nothing."""
        kept: list[Any] = []
        for layer, item in zip(made, raw, strict=True):
            if layer["inbound_nodes"] or inputs.is_input(layer):
                kept.append(layer)
            elif (shape := inputs.shape_of(item)) is not None:
                name = names.free(f"{layer['name']}_input")
                config = {"batch_shape": shape, "dtype": inputs.dtype_of(item), "name": name}
                kept.append(chains.member({"class_name": "InputLayer", "config": config}, []))
                layer["inbound_nodes"] = [{"args": [tensor(name)], "kwargs": {}}]
                kept.append(layer)
            else:
                self.found.changed("Layers that are connected to nothing were dropped", layer["name"])
        return kept


def _nodes(item: dict[str, Any]) -> list[Any]:
    """Return a layer's nodes. A node that is a bare tensor is the only one."""
    found = item.get("inbound_nodes")
    if not isinstance(found, list):
        return []
    return [[node] if nodes.is_tensor(node) else node for node in found]


def _width(calls: list[Call], widths: dict[str, int | None]) -> int | None:
    """Return the last axis of the tensor that goes into a layer."""
    first = calls[0].args[0] if calls and calls[0].args else None
    config = first.get("config") if isinstance(first, dict) else None
    history = config.get("keras_history") if isinstance(config, dict) else None
    return widths.get(str(history[0])) if isinstance(history, list) and history else None
