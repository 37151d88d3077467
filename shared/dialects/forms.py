"""The form that every configuration of Keras has, whatever it says: checked before anything is converted. Pure."""

from typing import Any

from shared.errors import BadSpec, FieldError
from shared.jsontext import escaped

#: Errors that one answer lists.
_ERRORS_MOST = 50


def check(value: Any, pointer: str) -> None:
    """Raise `BadSpec` where a class has no name, or a model's layers are no list of objects; `fields` says where."""
    wrong: list[FieldError] = []
    waiting = [(value, pointer)]
    while waiting and len(wrong) < _ERRORS_MOST:
        item, place = waiting.pop()
        if isinstance(item, list):
            waiting += [(inner, f"{place}/{index}") for index, inner in enumerate(item)]
        elif isinstance(item, dict):
            wrong += [FieldError(f"{place}/{key}", message) for key, message in _faults(item)]
            waiting += [(inner, f"{place}/{escaped(str(key))}") for key, inner in item.items()]
    if wrong:
        more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BadSpec(wrong[0].message + more, fields=tuple(wrong))


def _faults(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong with an object's own entries, and which entry it is."""
    found = []
    if not isinstance(item.get("class_name", ""), str):
        found.append(("class_name", "class_name must be the name of a class, as Keras writes it."))
    layers = item.get("layers", [])
    if not isinstance(layers, list):
        found.append(("layers", "layers must be an array of layers."))
    config = item.get("config")
    bare = config if isinstance(config, list) and item.get("class_name") == "Sequential" else []
    for entry, listed in (("layers", layers if isinstance(layers, list) else []), ("config", bare)):
        places = (f"{entry}/{index}" for index, layer in enumerate(listed) if not isinstance(layer, dict))
        found += [(place, "A layer must be an object with class_name and config.") for place in places]
    return found
