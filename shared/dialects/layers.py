"""One layer of Keras 0 to 2 as a layer of Keras 3. Pure.

What is not known here stays as it is: the allow-list refuses it, by name and with its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.allowlist.lookup import find
from shared.dialects import adaptations, merges, objects, renames, subgraphs, values
from shared.dialects.findings import Findings, Placed
from shared.jsontext import escaped

#: Classes of models, in every spelling of the versions.
MODELS = frozenset({"Sequential", "Model", "Functional", "Graph", "Container", "Network"})
_SUFFIXES = {"_initializer": "initializers", "_regularizer": "regularizers", "_constraint": "constraints"}
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "bool", "string"})


@dataclass(frozen=True)
class Tools:
    """What the conversion of a layer needs besides the layer: where to note things, and how a model is converted."""

    found: Findings
    model: Callable[[dict[str, Any], str], Placed]
    #: The data format of layers of images that do not say theirs.
    data_format: str | None = None


def name_of(value: dict[str, Any]) -> str | None:
    """Return the class's name of a layer's configuration; Keras 0 called the class `name`."""
    name = value.get("class_name", None if "config" in value else value.get("name"))
    return name if isinstance(name, str) else None


def config_of(value: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a layer's arguments, and the entry that holds them ("" for Keras 0, which wrote them flat)."""
    if "class_name" in value:
        config = value.get("config")
        return (config if isinstance(config, dict) else {}), "/config"
    flat = {key: item for key, item in value.items() if key not in {"name", "custom_name"}}
    if isinstance(value.get("custom_name"), str):
        flat["name"] = value["custom_name"]
    return flat, ""


def is_model(value: Any) -> bool:
    """Return whether a configuration is that of a model: by its class, or because it holds a model's parts."""
    if not isinstance(value, dict):
        return False
    return (name_of(value) or "").rpartition(".")[2] in MODELS or is_wired(value.get("config"))


def is_wired(config: Any) -> bool:
    """Return whether a configuration is that of a Functional model."""
    return isinstance(config, dict) and {"layers", "input_layers", "output_layers"} <= set(config)


def converted(value: Any, pointer: str, tools: Tools, *, width: int | None = None) -> Any:
    """Return a layer as Keras 3 writes it. `width` is the last axis of what goes into it, where it is known."""
    if not isinstance(value, dict) or (name := name_of(value)) is None:
        return value
    if is_model(value):
        return tools.model(value, pointer)
    config, inside = config_of(value)
    layer = _Layer(name.rpartition(".")[2], values.unwrapped(config), pointer + inside, tools)
    if special := layer.special(width):
        return _placed(special, pointer, inside, {})
    return layer.made(value, pointer, inside)


@dataclass
class _Layer:
    """A layer under conversion."""

    name: str
    config: dict[str, Any]
    pointer: str
    tools: Tools

    def special(self, width: int | None) -> dict[str, Any] | None:
        """Return what a layer becomes that Keras 3 does not have, or None."""
        found = self.tools.found
        if self.name in subgraphs.MAKERS:
            return subgraphs.MAKERS[self.name](self.config, width, found)
        if self.name == "Merge":
            return merges.merged(self.config, found)
        if self.name == "CustomScaleLayer" and "scale" in self.config:
            return merges.scaled(self.config, found)
        if self.name.startswith("BatchNormalization") and (config := adaptations.layer_normalized(self.config, found)):
            return {"class_name": "LayerNormalization", "config": config}
        return None

    def made(self, value: dict[str, Any], pointer: str, inside: str) -> Placed:
        """Return the converted layer."""
        found = self.tools.found
        name = renames.CLASSES.get(self.name, self.name)
        entry = find("layers", name)
        if entry is None or "Custom>" in str(value.get("registered_name")):
            kept = {key: item for key, item in value.items() if key in {"class_name", "module", "registered_name"}}
            return Placed({"class_name": self.name, **kept, "config": Placed(self.config, self.pointer)}, pointer)
        adaptations.before(self.name, self.config, found)
        arguments, names = renames.arguments(entry, self.config)
        self._noted(entry.name, names)
        for key in list(arguments):
            arguments[key] = self._argument(key, arguments[key])
        if self.tools.data_format and "data_format" in entry.arguments and entry.name.endswith(("2D", "3D")):
            arguments.setdefault("data_format", self.tools.data_format)
        adaptations.after(self.name, entry.name, arguments, found)
        module = value.get("module")
        made: dict[str, Any] = {"class_name": entry.name, "config": arguments}
        if isinstance(module, str) and not module.startswith(("keras", "tensorflow", "tf_keras", "tf.keras")):
            # A class of somebody's own that is called like one of Keras's.
            made["module"] = module
        return _placed(made, pointer, inside, names)

    def _noted(self, new: str, names: dict[str, str]) -> None:
        found, own = self.tools.found, self.config.get("name")
        if new != self.name and find("layers", self.name) is None:
            found.changed(f"{self.name} became {new}", own)
        renamed = ", ".join(f"{old} is {new}" for new, old in sorted(names.items()) if new != old)
        if renamed:
            found.changed(f"Arguments have Keras 3's names: {renamed}", own)

    def _argument(self, key: str, value: Any) -> Any:
        kind = next((kind for suffix, kind in _SUFFIXES.items() if key.endswith(suffix)), None)
        if kind:
            return objects.converted(kind, value)
        pointer = f"{self.pointer}/{escaped(key)}"
        if key in {"layer", "backward_layer", "cell"} and isinstance(value, dict):
            return converted(value, pointer, self.tools)
        if key in {"cells", "layers"} and isinstance(value, list):
            return [converted(item, f"{pointer}/{index}", self.tools) for index, item in enumerate(value)]
        if key in {"activation", "recurrent_activation"}:
            if isinstance(value, dict) and value.get("class_name") != "function":
                return converted(value, pointer, self.tools)
            return objects.activation(value, self.tools.found, self.config.get("name"))
        return self._dtype(values.dtype(value)) if key == "dtype" else value

    def _dtype(self, name: Any) -> Any:
        if self.name == "InputLayer" or not isinstance(name, str) or name not in _INTEGERS:
            return name
        self.tools.found.changed(
            f"The dtype {name} of a layer with weights or numbers became float32", self.config.get("name")
        )
        return "float32"


def _placed(made: dict[str, Any], pointer: str, inside: str, names: dict[str, str]) -> Placed:
    config = made["config"] if isinstance(made["config"], Placed) else Placed(made["config"], pointer + inside, names)
    placed = Placed(made, pointer)
    placed["config"] = config
    return placed
