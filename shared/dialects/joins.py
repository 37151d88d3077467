"""A Sequential model that begins with a Merge (Keras 0 and 1) as a Functional one, its branches as layers. Pure."""

from dataclasses import dataclass, field
from typing import Any

from shared.dialects import chains, inputs, layers, merges
from shared.dialects.findings import Placed
from shared.dialects.names import Names
from shared.dialects.subgraphs import tensor


def is_joined(members: list[Any]) -> bool:
    """Return whether the layers of a Sequential model begin with a Merge that holds models."""
    first = members[0] if members else None
    return (
        isinstance(first, dict) and layers.name_of(first) == "Merge" and bool(layers.config_of(first)[0].get("layers"))
    )


def converted(members: list[Any], place: str, name: str, tools: layers.Tools) -> dict[str, Any]:
    """Return the model of such layers, the first of which stands at `place`/0."""
    tools.found.changed("A Sequential model that begins with a Merge became a Functional one", name)
    config, inside = layers.config_of(members[0])
    join = _Join(tools, Names(tools.found))
    branches = [
        join.branch(branch, f"{place}/0{inside}/layers/{index}")
        for index, branch in enumerate(config.get("layers") or [])
    ]
    join.add(Placed(merges.merged(config, tools.found), f"{place}/0"), [branches], f"{place}/0")
    for index, item in enumerate(members[1:], 1):
        where = f"{place}/{index}"
        join.add(layers.converted(item, where, tools), [tensor(join.last)], where)
    starts = [[start["name"], 0, 0] for start in join.starts]
    nested = bool(join.members) and join.members[-1].get("class_name") == "Functional"
    ends = {"input_layers": starts[0] if len(starts) == 1 else starts, "output_layers": [join.last, int(nested), 0]}
    return {"class_name": "Functional", "config": {"name": name, "layers": [*join.starts, *join.members], **ends}}


@dataclass
class _Join:
    """A model under conversion: its inputs and its layers so far, and the name of the last."""

    tools: layers.Tools
    names: Names
    starts: list[Any] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)
    last: str = ""

    def branch(self, value: dict[str, Any], place: str) -> dict[str, Any]:
        """Add a branch with InputLayers of its own; return its result."""
        model = layers.converted(value, place, self.tools)
        tensors = []
        for start in inputs.starts(model):
            begin = {**start, "name": self.names.free(start["name"])}
            self.starts.append(chains.member({"class_name": "InputLayer", "config": begin}, []))
            tensors.append(tensor(begin["name"]))
        if not tensors:
            self.tools.found.wrong(place, "This branch of a Merge does not say its input shape.")
        self.add(model, [tensors if len(tensors) > 1 else tensors[0] if tensors else None], place)
        return tensor(self.last)

    def add(self, layer: dict[str, Any], args: list[Any], place: str) -> None:
        """Add a layer that is called with the arguments."""
        if not isinstance(layer.get("config"), dict):
            self.tools.found.wrong(place, "A layer must be an object with class_name and config.")
            return
        self.names.give(layer)
        self.members += chains.parts(chains.member(layer, args), self.names.free)
        self.last = self.members[-1]["name"]
