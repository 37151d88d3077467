"""The check of Keras configurations from outside, before Keras sees them. Pure.

Nothing that comes in goes on: each function builds a new configuration from what the catalogue allows, class by class
and argument by argument, so that `keras.saving.deserialize_keras_object` meets only known classes with sane values.
Layers, sizes and depth are capped; how much memory a model needs is counted elsewhere, with Keras.
"""

from dataclasses import dataclass, field
from typing import Any

from shared.allowlist import operations
from shared.allowlist.arguments import DTYPE, NAME
from shared.allowlist.catalog import (
    ACTIVATION_LAYERS,
    ACTIVATION_PARTS,
    ACTIVATIONS,
    FILLED,
    MODELS,
    NOUNS,
    OLD_ARGUMENTS,
)
from shared.allowlist.forms import LAMBDA, Said, no_lambda, read
from shared.allowlist.graph import Graph, Member
from shared.allowlist.lookup import CATALOG, Entry, close_to, find, snake, unknown
from shared.allowlist.values import Flag, Ref, Shape, Value, maybe, shown
from shared.dialects import convert
from shared.errors import BadSpec, FieldError
from shared.jsontext import escaped, plain, refused

#: Layers in one architecture, those of nested models and wrappers included.
LAYERS_MOST = 2048
#: Models in models.
NESTING_MOST = 8
#: Errors that one answer lists.
ERRORS_MOST = 50

#: What a Functional model writes around its layers besides.
_WIRED = frozenset({"name", "inbound_nodes"})
#: Metrics and losses that Keras chooses when it knows the output's shape.
_CHOSEN: dict[str, frozenset[str]] = {
    "metrics": frozenset({"accuracy", "acc"}),
    "losses": frozenset({"crossentropy", "ce"}),
}


@dataclass
class _Walk:
    """One check: the errors found so far and what is counted."""

    errors: list[FieldError] = field(default_factory=list)
    layers: int = 0
    nesting: int = 0

    def wrong(self, pointer: str, message: str) -> None:
        """Note an error; end the check at the last one that an answer lists."""
        self.errors.append(FieldError(pointer, message))
        if len(self.errors) >= ERRORS_MOST:
            self.end()

    def end(self) -> None:
        """Raise what was found."""
        if not self.errors:
            return
        first, more = self.errors[0].message, len(self.errors) - 1
        count = f" ({more} more error{'s' if more > 1 else ''})" if more else ""
        raise BadSpec(first + count, fields=tuple(self.errors))

    # Objects and their arguments.

    def thing(self, ref: Ref, value: Any, pointer: str) -> Any:
        """Return the checked configuration of one object of a kind."""
        if ref.kind == "activations":
            return self._activation(value, pointer)
        if ref.kind == "layers":
            return self.layer(value, pointer, only=ref.only)
        said = read(ref.kind, value, pointer, self.wrong)
        return self._made(ref.kind, said) if said else None

    def _activation(self, value: Any, pointer: str) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "Pipeline":
            # Activations that Keras 3 has no function for, in parts: Keras 2's hard_sigmoid.
            made = self.layer(value, pointer)
            self._parts(value, pointer)
            return made
        if isinstance(value, dict) and (value.get("class_name") == LAMBDA or _is_dumped(value)):
            self.wrong(pointer, no_lambda("activations"))
            return None
        if isinstance(value, dict) and value.get("class_name") != "function":
            return self.layer(value, pointer, only=ACTIVATION_LAYERS)
        said = read("activations", value, pointer, self.wrong)
        if said and said.name not in ACTIVATIONS:
            self.wrong(pointer, unknown("activations", said.name))
        return said.name if said else None

    def _parts(self, value: dict[str, Any], pointer: str) -> None:
        config = value.get("config")
        parts = config.get("layers") if isinstance(config, dict) else None
        names = {str(part.get("class_name") if isinstance(part, dict) else part) for part in parts or []}
        if not names <= ACTIVATION_PARTS:
            self.wrong(pointer, f"A Pipeline as an activation may only hold {', '.join(sorted(ACTIVATION_PARTS))}.")

    def _made(self, kind: str, said: Said) -> dict[str, Any] | None:
        entry = find(kind, said.name)
        if entry is None:
            self.wrong(said.place, _whose(kind, said) + unknown(kind, said.name))
            return None
        return _sealed(entry.module, entry.name, self._arguments(entry, said))

    def _arguments(self, entry: Entry, said: Said) -> dict[str, Any]:
        for name in sorted(entry.required - set(said.arguments)):
            self.wrong(said.pointer, f"{entry.name} needs the argument '{name}'.")
        config: dict[str, Any] = dict(FILLED.get(entry.name, {}))
        for name, value in said.arguments.items():
            pointer = f"{said.pointer}/{escaped(name)}"
            kind = entry.arguments.get(name)
            if kind is None:
                self.wrong(pointer, _no_argument(entry, name))
            else:
                config[name] = self._argument(name, kind, value, pointer)
        return config

    def _argument(self, name: str, kind: Value | Ref, value: Any, pointer: str) -> Any:
        if not isinstance(kind, Ref):
            self._is(name, kind, value, pointer)
            return value
        if (value is None and kind.null) or (kind.plain is not None and kind.plain.accepts(value)):
            return value
        if kind.many and isinstance(value, list) and value:
            return [self.thing(kind, item, f"{pointer}/{index}") for index, item in enumerate(value)]
        if kind.many:
            self.wrong(pointer, f"{name} must be an array of {NOUNS[kind.kind]}s, not {shown(value)}.")
            return None
        if kind.plain is not None and not isinstance(value, dict):
            self.wrong(pointer, f"{name} must be {kind.plain.says}, or a {NOUNS[kind.kind]}, not {shown(value)}.")
            return None
        return self.thing(kind, value, pointer)

    def _is(self, name: str, kind: Value, value: Any, pointer: str) -> bool:
        if kind.accepts(value):
            return True
        self.wrong(pointer, f"{name} must be {kind.says}, not {shown(value)}.")
        return False

    # Layers and models.

    def layer(
        self, value: Any, pointer: str, *, only: frozenset[str] | None = None, extra: frozenset[str] = frozenset()
    ) -> dict[str, Any] | None:
        """Return the checked configuration of a layer, or of a model that stands as one."""
        self.layers += 1
        if self.layers > LAYERS_MOST:
            raise refused(f"The architecture has more than {LAYERS_MOST} layers.", pointer)
        said = read("layers", value, pointer, self.wrong, extra=extra)
        if said is None:
            return None
        entry = find("layers", said.name)
        if only is not None and (entry is None or entry.name not in only):
            self.wrong(pointer, f"Only {', '.join(sorted(only))} may stand here, not {shown(said.name)}.")
            return None
        if said.name in MODELS:
            return self.model(said)
        made = self._made("layers", said)
        if made and made["class_name"] == "InputLayer":
            self._input(made["config"], said.pointer)
        return made

    def _input(self, config: dict[str, Any], pointer: str) -> None:
        if (config.get("shape") is None) == (config.get("batch_shape") is None):
            self.wrong(pointer, "InputLayer needs one of the arguments 'shape' and 'batch_shape'.")

    def model(self, said: Said) -> dict[str, Any]:
        """Return the checked configuration of a model."""
        self.nesting += 1
        if self.nesting > NESTING_MOST:
            raise refused(f"Models are nested deeper than {NESTING_MOST} levels.", said.pointer)
        try:
            if said.name == "Sequential":
                return _sealed("keras", "Sequential", self._sequential(said))
            return _sealed("keras.src.models.functional", "Functional", self._functional(said))
        finally:
            self.nesting -= 1

    def _model_arguments(self, said: Said, kinds: dict[str, Value | Ref]) -> dict[str, Any]:
        config: dict[str, Any] = {"name": snake(said.name)}
        for name in sorted(set(said.arguments) - set(kinds) - {"layers", "input_layers", "output_layers"}):
            self.wrong(f"{said.pointer}/{escaped(name)}", f"A {said.name} model has no argument {shown(name)}.")
        for name, kind in kinds.items():
            if said.arguments.get(name) is not None:
                config[name] = self._argument(name, kind, said.arguments[name], f"{said.pointer}/{name}")
        return config

    def _layer_list(self, said: Said) -> list[Any]:
        layers = said.arguments.get("layers")
        if isinstance(layers, list) and layers:
            return layers
        self.wrong(f"{said.pointer}/layers", f"A {said.name} model needs an array 'layers' with a layer in it.")
        return []

    def _sequential(self, said: Said) -> dict[str, Any]:
        config = self._model_arguments(
            said, {"name": NAME, "trainable": Flag(), "dtype": DTYPE, "build_input_shape": maybe(Shape(least=1))}
        )
        config["layers"] = self.stack(self._layer_list(said), f"{said.pointer}/layers")
        return config

    def stack(self, layers: list[Any], pointer: str) -> list[dict[str, Any] | None]:
        """Return the checked layers of a Sequential model."""
        made = [self.layer(layer, f"{pointer}/{index}") for index, layer in enumerate(layers)]
        names: set[str] = set()
        for index, layer in enumerate(made):
            if layer is None:
                continue
            if index and layer["class_name"] == "InputLayer":
                self.wrong(f"{pointer}/{index}", "InputLayer may only be the first layer.")
            self._unique(layer["config"].get("name"), names, f"{pointer}/{index}")
        return made

    def _unique(self, name: Any, names: set[str], pointer: str) -> None:
        if isinstance(name, str) and name in names:
            self.wrong(pointer, f"Two layers have the name {shown(name)}.")
        elif isinstance(name, str):
            names.add(name)

    def _functional(self, said: Said) -> dict[str, Any]:
        config = self._model_arguments(said, {"name": NAME, "trainable": Flag()})
        made = [
            self._member(layer, f"{said.pointer}/layers/{index}") for index, layer in enumerate(self._layer_list(said))
        ]
        layers = [item for item in made if item is not None]
        if len(layers) < len(made):
            # What a refused layer is connected to would only be named once more.
            return config
        names: set[str] = set()
        for _, member in layers:
            self._unique(member.name, names, member.pointer)
        graph = Graph({member.name: member for _, member in layers}, self.wrong)
        config["layers"] = [
            layer | {"name": member.name, "inbound_nodes": graph.connect(member)} for layer, member in layers
        ]
        for end in ("input_layers", "output_layers"):
            value = said.arguments.get(end)
            config[end] = graph.ends(value, f"{said.pointer}/{end}", inputs=end == "input_layers")
        graph.untangle(f"{said.pointer}/layers")
        return config

    def _member(self, value: Any, pointer: str) -> tuple[dict[str, Any], Member] | None:
        if not isinstance(value, dict) or "class_name" not in value:
            self.wrong(pointer, "A layer of a Functional model must be a Keras configuration.")
            return None
        if operations.is_operation(value):
            layer = operations.checked(value, pointer, self.wrong)
        else:
            layer = self.layer(value, pointer, extra=_WIRED)
        name, nodes = value.get("name"), value.get("inbound_nodes")
        if layer is None or not self._is("name", NAME, name, f"{pointer}/name"):
            return None
        if not isinstance(nodes, list):
            self.wrong(f"{pointer}/inbound_nodes", f"Layer {shown(name)} needs an array 'inbound_nodes'.")
            return None
        if layer["config"].setdefault("name", name) != name:
            self.wrong(f"{pointer}/name", f"The layer is called {shown(name)} here and otherwise in its config.")
        return layer, Member(str(name), layer["class_name"], nodes, pointer, operations.is_operation(value))


def _is_dumped(value: dict[str, Any]) -> bool:
    """Whether this is a lambda as Keras 3 writes it for an activation: its bytecode and nothing around it."""
    return set(value) == {"value"} and isinstance(value["value"], list)


def _sealed(module: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _whose(kind: str, said: Said) -> str:
    """Return the beginning of a sentence about a layer that has a name."""
    name = said.arguments.get("name")
    return f"Layer {shown(name)}: " if kind == "layers" and isinstance(name, str) else ""


def _no_argument(entry: Entry, name: str) -> str:
    sentence = f"{entry.name} has no argument {shown(name)}"
    if name in OLD_ARGUMENTS:
        return f"{sentence}: {OLD_ARGUMENTS[name]}."
    if near := close_to(name, entry.arguments):
        return f"{sentence}: did you mean '{near}'?"
    return f"{sentence}; it takes {', '.join(sorted(entry.arguments)) or 'none'}."


def from_layers(layers: object, input_shape: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked Keras 3 configuration of a Sequential model given as a short list of layers.

    Args:
        layers: `[{"Dense": {"units": 128}}, "Flatten", …]`. Layers without a name get the one that Keras would give.
        input_shape: The shape of one sample, such as `[28, 28]`; entries may be null.
        pointer: Where the object that holds `layers` and `input_shape` stands (a JSON pointer).

    Raises:
        BadSpec: Something is not allowed; `fields` says what and where.
    """
    walk = _Walk()
    listed = plain(layers, pointer=f"{pointer}/layers")
    shape = plain(input_shape, pointer=f"{pointer}/input_shape")
    if not Shape().accepts(shape):
        walk.wrong(f"{pointer}/input_shape", f"input_shape must be {Shape().says}, not {shown(shape)}.")
    if not isinstance(listed, list) or not listed:
        walk.wrong(f"{pointer}/layers", "layers must be an array with a layer in it.")
        listed = []
    made = walk.stack(listed, f"{pointer}/layers")
    for index, layer in enumerate(made):
        if layer is not None and layer["class_name"] == "InputLayer":
            walk.wrong(f"{pointer}/layers/{index}", "Leave InputLayer out: input_shape says the same.")
    walk.end()
    return _named([layer for layer in made if layer is not None], shape)


def _named(layers: list[dict[str, Any]], shape: list[int | None]) -> dict[str, Any]:
    taken = {layer["config"].get("name") for layer in layers}
    for layer in layers:
        if layer["config"].get("name") is None:
            name = _free_name(snake(layer["class_name"]), taken)
            taken.add(name)
            layer["config"] = {"name": name, **layer["config"]}
    entry = CATALOG["layers"]["InputLayer"]
    config = {"batch_shape": [None, *shape], "dtype": "float32", "name": _free_name("input_layer", taken)}
    first = {"module": entry.module, "class_name": entry.name, "config": config, "registered_name": None}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "layers": [first, *layers]},
        "registered_name": None,
    }


def _free_name(stem: str, taken: set[Any]) -> str:
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


def checked(architecture: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked configuration of a Keras 3 model: a Sequential or Functional one, nested models included.

    Args:
        architecture: What `Model.to_json()` or `Model.to_yaml()` of any Keras writes, as text or as the object.
        pointer: Where the architecture stands (a JSON pointer).

    Raises:
        BadSpec: Something is not allowed; `fields` says what and where.
    """
    return converted(architecture, pointer=pointer)[0]


def converted(architecture: object, *, pointer: str = "") -> tuple[dict[str, Any], list[str]]:
    """Return the checked Keras 3 configuration of an architecture, and what had to be changed, one sentence each.

    Raises:
        BadSpec: As `checked`; every part that cannot be converted is named, where it stands in what was given.
    """
    found = convert.convert(architecture, pointer=pointer)
    walk = _Walk()
    made: dict[str, Any] = {}
    try:
        said = read("layers", found.config, "", walk.wrong)
        made = walk.model(said) if said else {}
        walk.end()
    except BadSpec as error:
        walk.errors = [FieldError(found.original(field.pointer), field.message) for field in error.fields]
    walk.errors[:0] = found.errors
    walk.end()
    return made, found.changes


def checked_optimizer(value: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked configuration of an optimizer. Raise BadSpec."""
    return _checked("optimizers", value, pointer)


def checked_loss(value: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked configuration of a loss, or `{"name": …}` for one that Keras chooses. Raise BadSpec."""
    return _checked("losses", value, pointer)


def checked_metric(value: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked configuration of a metric, or `{"name": …}` for one that Keras chooses. Raise BadSpec.

    A metric given by a name alone keeps that name in the history, as in Keras: `mse`, not `mean_squared_error`.
    """
    made = _checked("metrics", value, pointer)
    if isinstance(value, str) and "config" in made:
        made["config"]["name"] = value
    return made


def checked_callback(value: object, *, pointer: str = "") -> dict[str, Any]:
    """Return the checked configuration of a callback. Raise BadSpec."""
    return _checked("callbacks", value, pointer)


def _checked(kind: str, value: object, pointer: str) -> dict[str, Any]:
    given = plain(value, pointer=pointer)
    if isinstance(given, str) and given.lower() in _CHOSEN.get(kind, ()):
        return {"name": given}
    walk = _Walk()
    made = walk.thing(Ref(kind), given, pointer)
    walk.end()
    return dict(made)
