"""The three forms in which a spec names a Keras object: `"adam"`, `{"Adam": {…}}`, and what Keras writes. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.allowlist.catalog import MODELS, MODULES, NOUNS
from shared.allowlist.lookup import find, unknown
from shared.allowlist.values import shown
from shared.jsontext import escaped

#: What Keras writes around a configuration. The build and compile parts are dropped: they allocate while loading. So is
#: the number of a shared object: Keras 3.15 does not bring a layer of two models back as one by it either.
_ENVELOPE = frozenset(
    {"module", "class_name", "config", "registered_name", "build_config", "compile_config", "shared_object_id"}
)
#: Kinds that Keras also knows as functions.
_FUNCTIONS = frozenset({"activations", "losses", "metrics"})

#: How Keras writes a lambda.
LAMBDA = "__lambda__"

#: Takes a pointer and a sentence about what is wrong there.
Wrong = Callable[[str, str], None]


@dataclass(frozen=True)
class Said:
    """What a spec says about one object: a class's name, its arguments, where these stand, and where the name does."""

    name: str
    arguments: dict[str, Any]
    pointer: str
    place: str


def read(kind: str, value: Any, pointer: str, wrong: Wrong, *, extra: frozenset[str] = frozenset()) -> Said | None:
    """Return what the value says about an object of a kind, or None after saying what is wrong with its form.

    `extra` are the entries that may stand in a Keras configuration besides its own.
    """
    if isinstance(value, str):
        return Said(value, {}, pointer, pointer)
    if isinstance(value, dict) and "class_name" in value:
        return _configuration(kind, value, pointer, wrong, extra)
    if isinstance(value, dict) and len(value) == 1:
        name, arguments = next(iter(value.items()))
        if arguments is None or isinstance(arguments, dict):
            return Said(name, arguments or {}, f"{pointer}/{escaped(name)}", pointer)
    wrong(pointer, f'The {NOUNS[kind]} must be a name, {{"Name": {{arguments}}}} or a Keras configuration.')
    return None


def _configuration(kind: str, value: dict[str, Any], pointer: str, wrong: Wrong, extra: frozenset[str]) -> Said | None:
    name, config = value["class_name"], value.get("config")
    if name == LAMBDA:
        wrong(f"{pointer}/class_name", no_lambda(kind))
        return None
    if not isinstance(name, str) or name.startswith("__"):
        wrong(f"{pointer}/class_name", f"{shown(name)} is not allowed: it carries code or raw data.")
        return None
    for key in sorted(set(value) - _ENVELOPE - extra):
        wrong(f"{pointer}/{escaped(key)}", f"A Keras configuration has no entry {shown(key)}.")
    if name == "function":
        return _function(kind, value, pointer, wrong)
    if sentence := _wrong_module(kind, name, value.get("module")):
        wrong(f"{pointer}/module", sentence)
        return None
    if value.get("registered_name") not in (None, name):
        wrong(f"{pointer}/registered_name", "Registered classes are not allowed: registered_name must be null.")
    if config is not None and not isinstance(config, dict):
        wrong(f"{pointer}/config", f"The config of {shown(name)} must be an object.")
        return None
    return Said(name, config or {}, f"{pointer}/config", pointer)


def no_lambda(kind: str) -> str:
    """Return the sentence about a lambda where an object of a kind should be; the layer Lambda is another matter."""
    noun = NOUNS[kind]
    return (
        f"A lambda as the {noun} is not allowed: it carries code, and no code travels in a spec; use a built-in {noun}."
    )


def _wrong_module(kind: str, name: str, module: Any) -> str | None:
    """Return the sentence about a module in which the class is not, or None."""
    model = MODELS.get(name) if kind == "layers" else None
    if module is None or module in list(model or MODULES[kind]):
        return None
    if isinstance(module, str) and module.startswith("keras.src.ops"):
        return f"Operations on tensors such as {shown(name)} are not allowed; use a layer (Add, Rescaling …)."
    if model is None and find(kind, name) is None:
        return unknown(kind, name)
    return f"{name} is in {'keras' if model else MODULES[kind][0]}, not in {shown(module)}."


def _function(kind: str, value: dict[str, Any], pointer: str, wrong: Wrong) -> Said | None:
    name, module = value.get("config"), value.get("module")
    known = isinstance(name, str) and value.get("registered_name") in (None, "function", name)
    if kind in _FUNCTIONS and known and module in (None, "builtins", f"keras.{kind}"):
        return Said(str(name), {}, pointer, pointer)
    wrong(pointer, f"The function {shown(name)} is not allowed; write the plain name of a built-in {NOUNS[kind]}.")
    return None
