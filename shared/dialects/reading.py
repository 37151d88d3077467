"""From what a user gives to one plain configuration: JSON, Python literals, YAML, and their wrappings. Pure."""

from typing import Any

from shared.dialects import literal, yamltext
from shared.errors import BadSpec
from shared.jsontext import TEXT_BYTES_MOST, parsed, plain, refused

#: Texts in texts: JSON inside a JSON string, and that inside a file that quotes it again.
_TEXTS_MOST = 4
#: Entries around an architecture: TensorFlow.js's, the HDF5 attribute's, this project's own.
_WRAPPERS = ("modelTopology", "model_config", "architecture", "keras_model", "model", "config")
_GRAPH = (
    "This is a TensorFlow graph, not a Keras architecture: its layers are gone. Give the Keras model that it was "
    "made from, or what tensorflowjs_converter writes with --output_format=tfjs_layers_model."
)


def read(architecture: object, *, pointer: str = "") -> tuple[Any, str]:
    """Return the configuration as plain JSON, and the place in it at which the model stands (a JSON pointer).

    Raises:
        BadSpec: The text cannot be read, or the value is too large, too deep, or not plain.
    """
    value = _plain(architecture, pointer)
    for _ in range(_TEXTS_MOST):
        inner, place = _unwrapped(value)
        if isinstance(inner, str):
            inner = _plain(inner, pointer)
        elif place == "":
            break
        version = value.get("keras_version") if isinstance(value, dict) else None
        if version is not None and isinstance(inner, dict):
            inner.setdefault("keras_version", version)
        value, pointer = inner, pointer + place
    if isinstance(value, dict) and isinstance(value.get("node"), list) and "class_name" not in value:
        raise refused(_GRAPH, pointer)
    return value, pointer


def _opened(value: object, pointer: str) -> object:
    """Return what a text holds, and a text in it, and so on."""
    for _ in range(_TEXTS_MOST):
        if not isinstance(value, str):
            break
        value = _text(value, pointer)
    return value


def _text(text: str, pointer: str) -> Any:
    text = text.removeprefix("\ufeff").strip()
    if not text.startswith(("{", "[", '"', "'", "(")):
        return yamltext.parsed(text, pointer=pointer)
    try:
        return parsed(text, pointer=pointer)
    except BadSpec as error:
        return _other(text, pointer, error)


def _other(text: str, pointer: str, error: BadSpec) -> Any:
    """Read what looks like JSON and is none; when it is nothing else either, JSON's own error says most."""
    for reader in (literal.parsed, yamltext.parsed):
        try:
            return reader(text, pointer=pointer)
        except BadSpec:
            continue
    raise error


def _unwrapped(value: Any) -> tuple[Any, str]:
    if isinstance(value, dict) and "class_name" not in value and "layers" not in value:
        for name in _WRAPPERS:
            if isinstance(value.get(name), dict | str):
                return value[name], f"/{name}"
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | dict):
        return value[0], "/0"
    return value, ""


def _plain(value: object, pointer: str) -> Any:
    # A Lambda's code is a long text; it is refused by the layer's name, not by its length.
    return plain(_opened(value, pointer), pointer=pointer, string_bytes=TEXT_BYTES_MOST)
