"""Keras 0's Graph, with its shared nodes, as a Functional model. Pure."""

from dataclasses import dataclass, field
from typing import Any

from shared.dialects import chains, layers, merges, values
from shared.dialects.findings import Placed
from shared.dialects.names import Names
from shared.dialects.subgraphs import tensor
from shared.jsontext import escaped


def converted(config: dict[str, Any], pointer: str, tools: layers.Tools) -> Placed:
    """Return a Graph, whose configuration stands at the pointer, as a Functional model."""
    tools.found.changed("A Graph model became a Functional one")
    graph = _Graph(pointer, tools, Names(tools.found))
    for item in _dicts(config.get("input_config")):
        graph.start(item)
    known = config.get("nodes")
    for item in _dicts(config.get("node_config")):
        graph.node(item, known.get(str(item.get("name"))) if isinstance(known, dict) else None)
    outputs = [graph.end(item) for item in _dicts(config.get("output_config"))]
    ends = {"input_layers": graph.inputs, "output_layers": outputs}
    single = {key: value[0] if len(value) == 1 else value for key, value in ends.items()}
    return Placed({"class_name": "Functional", "config": {"name": "graph", "layers": graph.members, **single}}, pointer)


@dataclass
class _Graph:
    """A Graph under conversion: its members so far, and the tensors that each of its names stands for."""

    pointer: str
    tools: layers.Tools
    names: Names
    members: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    results: dict[str, list[Any]] = field(default_factory=dict)

    def start(self, item: dict[str, Any]) -> None:
        name = self.names.free(item.get("name"))
        shape = [None, *(values.shape(values.unwrapped(item.get("input_shape"))) or [])]
        config = {"batch_shape": shape, "dtype": values.dtype(item.get("dtype", "float32")), "name": name}
        self.members.append(chains.member({"class_name": "InputLayer", "config": config}, []))
        self.inputs.append([name, 0, 0])
        self.results[str(item.get("name"))] = [tensor(name)]

    def node(self, item: dict[str, Any], known: Any) -> None:
        """Add a node: a layer, a layer that several tensors go through (Siamese), or one of its results."""
        label = str(item.get("name"))
        place, tensors = f"{self.pointer}/nodes/{escaped(label)}", self._sources(item)
        kind = layers.name_of(known) if isinstance(known, dict) else None
        if kind == "SiameseHead":
            head = known.get("head")
            self.results[label] = tensors[head : head + 1] if isinstance(head, int) and head >= 0 else []
            return
        if kind == "Siamese":
            own = known.get("layer")
            shared = self._layer(own, f"{label}_layer" if item.get("merge_mode") else label, f"{place}/layer")
            if shared:
                tensors = self._added(shared, [[one] for one in tensors])
            self.results[label] = [self._merged(item, tensors, label)] if item.get("merge_mode") else tensors
            return
        if len(tensors) > 1:
            tensors = [self._merged(item, tensors, f"{label}_merge")]
        if layer := self._layer(known, label, place):
            self.results[label] = self._added(layer, [tensors] if tensors else [])

    def end(self, item: dict[str, Any]) -> Any:
        """Return the history of an output's tensor."""
        tensors = self._sources(item)
        one = tensors[0] if len(tensors) == 1 else self._merged(item, tensors, item.get("name"))
        name, call, result = one["config"]["keras_history"]
        nested = any(layer["name"] == name and layer.get("class_name") == "Functional" for layer in self.members)
        return [name, call + nested, result]

    def _sources(self, item: dict[str, Any]) -> list[Any]:
        """Return the tensors that an entry names; one of an unknown name is refused with the model."""
        several = item.get("inputs")
        labels = several if isinstance(several, list) and several else [item.get("input")]
        known = [self.results.get(str(label), [tensor(str(label))]) for label in labels if isinstance(label, str)]
        return [one for tensors in known for one in tensors]

    def _merged(self, item: dict[str, Any], tensors: list[Any], name: Any) -> Any:
        free = self.names.free(name)
        config: dict[str, Any] = {key: item[key] for key in ("concat_axis", "dot_axes") if key in item}
        merge = merges.merged({**config, "mode": item.get("merge_mode", "concat"), "name": free}, self.tools.found)
        self.members += chains.parts(chains.member(Placed(merge, self.pointer), [tensors]), self.names.free)
        return tensor(free)

    def _layer(self, known: Any, label: str, place: str) -> Placed | None:
        layer = layers.converted(known, place, self.tools)
        if not isinstance(layer, Placed) or not isinstance(layer.get("config"), dict):
            self.tools.found.wrong(place, f"The node '{label[:80]}' of the Graph has no layer.")
            return None
        layer["config"]["name"] = self.names.free(label)
        return layer

    def _added(self, layer: Placed, calls: list[list[Any]]) -> list[Any]:
        """Add a layer that is called so often; return its results."""
        made = chains.member(layer, [])
        made["inbound_nodes"] = [{"args": args, "kwargs": {}} for args in calls]
        self.members.append(made)
        return [tensor(made["name"], call) for call in range(len(calls))]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
