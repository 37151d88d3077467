"""The converter: an architecture of any Keras, in any form, becomes a Keras 3 configuration. Pure.

What comes out is not trusted: `shared/architecture.py` checks it against the allow-list like anything from outside.
"""

from dataclasses import dataclass, field
from typing import Any

from shared.dialects import era, forms, layers, models, reading
from shared.dialects.findings import Findings, original, settle
from shared.errors import FieldError
from shared.jsontext import refused

_NO_MODEL = (
    "An architecture must be the configuration of a Sequential or Functional model: what Model.to_json() or "
    "Model.to_yaml() writes, of any Keras from 0 to 3."
)
#: What files of whole models write beside the model's class and config.
_AROUND = frozenset({"keras_version", "backend", "training_config", "optimizer_weights"})


@dataclass(frozen=True)
class Converted:
    """A configuration in Keras 3's terms: what was changed, what could not be, and where its parts stood before."""

    config: dict[str, Any]
    changes: list[str]
    errors: tuple[FieldError, ...] = ()
    places: dict[str, str] = field(default_factory=dict)

    def original(self, pointer: str) -> str:
        """Return where the part at a pointer of `config` stands in what was given."""
        return original(pointer, self.places)


def convert(architecture: object, *, pointer: str = "") -> Converted:
    """Return the Keras 3 configuration of an architecture, not checked yet.

    Args:
        architecture: An object, or text: JSON, JSON in a JSON string, YAML, a Python literal.
        pointer: Where the architecture stands (a JSON pointer).

    Raises:
        BadSpec: It cannot be read, or is no model.
    """
    value, place = reading.read(architecture, pointer=pointer)
    if not isinstance(value, dict) or not (layers.is_model(value) or _is_keras_0(value)):
        raise refused(_NO_MODEL, place)
    written = era.era(value)
    if written >= era.NEWEST:
        kept = {key: item for key, item in value.items() if key not in _AROUND}
        return Converted(kept, [], places={"": place})
    forms.check(value, place)
    found = Findings()
    made = models.converted(value, place, found, data_format=era.data_format(value, written))
    places: dict[str, str] = {"": place}
    config = settle(made, "", places)
    return Converted(config, found.changes, tuple(found.errors), places)


def _is_keras_0(value: dict[str, Any]) -> bool:
    return "class_name" not in value and str(value.get("name")) in layers.MODELS
