"""The form that every configuration of Keras has, whatever it says: checked before anything is converted. Pure."""

from collections.abc import Iterator
from typing import Any

from shared.dialects import layers
from shared.errors import BadSpec, FieldError
from shared.jsontext import escaped

#: Errors that one answer lists.
_ERRORS_MOST = 50
_NO_NAME = "class_name must be the name of a class, as Keras writes it."
_NO_LIST = "layers must be an array of layers."
_NO_LAYER = "A layer must be an object with class_name and config."


def check(value: Any, pointer: str) -> None:
    """Raise `BadSpec` where a class has no name, or a model's layers are no list of objects; `fields` says where."""
    wrong: list[FieldError] = []
    waiting = [(value, pointer)]
    while waiting and len(wrong) < _ERRORS_MOST:
        item, place = waiting.pop()
        if isinstance(item, list):
            waiting += [(inner, f"{place}/{index}") for index, inner in enumerate(item)]
        elif isinstance(item, dict):
            wrong += [FieldError(f"{place}/{entry}", message) for entry, message in _faults(item)]
            waiting += [(inner, f"{place}/{escaped(str(key))}") for key, inner in item.items()]
    if wrong:
        more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BadSpec(wrong[0].message + more, fields=tuple(wrong))


def _faults(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an object's own entries, and which entry it is."""
    if not isinstance(item.get("class_name", ""), str):
        yield "class_name", _NO_NAME
    elif layers.is_model(item) or layers.name_of(item) == "Merge":
        named = "class_name" in item
        config = item.get("config") if named else item
        held = config.get("layers") if isinstance(config, dict) else config
        entry = ("config/layers" if named else "layers") if isinstance(config, dict) else "config"
        if held is not None and not isinstance(held, list):
            yield entry, _NO_LIST
        for index, layer in enumerate(held if isinstance(held, list) else []):
            if not isinstance(layer, dict):
                yield f"{entry}/{index}", _NO_LAYER
