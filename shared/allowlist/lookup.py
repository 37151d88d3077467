"""Finding a class of the catalogue by the name that a spec gives, and the sentence when there is none. Pure."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.allowlist.arguments import value_of
from shared.allowlist.catalog import ACTIVATIONS, CODE, MODULES, NOUNS, OTHER_NAMES, REFUSED, TABLES
from shared.allowlist.values import Ref, Value, shown


@dataclass(frozen=True)
class Entry:
    """An allowed class."""

    kind: str
    name: str
    module: str
    arguments: dict[str, Value | Ref]
    required: frozenset[str]


def _entry(kind: str, name: str, line: str) -> Entry:
    words = line.split()
    arguments = {word.rstrip("!"): value_of(kind, name, word.rstrip("!")) for word in words}
    return Entry(kind, name, MODULES[kind][0], arguments, frozenset(word[:-1] for word in words if word[-1] == "!"))


#: The allowed classes, by kind and name.
CATALOG: dict[str, dict[str, Entry]] = {
    kind: {name: _entry(kind, name, line) for name, line in table.items()} for kind, table in TABLES.items()
}


def snake(name: str) -> str:
    """Return a class's name as Keras writes it in snake case: `Conv2DTranspose` is `conv2d_transpose`."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


#: Kinds whose classes Keras also knows by their names in snake case.
_SNAKE_KINDS = frozenset({"losses", "metrics", "initializers", "regularizers", "constraints"})


def _names(kind: str, name: str) -> Iterable[str]:
    yield from (name, *OTHER_NAMES.get(kind, {}).get(name, ()))
    if kind in _SNAKE_KINDS:
        yield snake(name)
    if kind == "optimizers":
        yield name.lower()


#: The class that each name of a kind stands for.
ALIASES: dict[str, dict[str, str]] = {
    kind: {alias: name for name in table for alias in _names(kind, name)} for kind, table in CATALOG.items()
}


def find(kind: str, name: str) -> Entry | None:
    """Return the allowed class that a name stands for. Optimizers' names are free of case, as in Keras."""
    aliases = ALIASES[kind]
    found = aliases.get(name) or (aliases.get(name.lower()) if kind == "optimizers" else None)
    return CATALOG[kind][found] if found else None


def close_to(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant, or None."""
    known = {item.lower(): item for item in sorted(words)}
    near = difflib.get_close_matches(word[:64].lower(), list(known), n=1, cutoff=0.6)
    return known[near[0]] if near else None


def unknown(kind: str, name: str) -> str:
    """Return the sentence about a name that is not allowed: why, and what to write in its place."""
    if reason := REFUSED.get(kind, {}).get(name):
        return f"{shown(name)} is not allowed: {reason}."
    sentence = f"Unknown {NOUNS[kind]} {shown(name)}"
    near = close_to(name, ACTIVATIONS if kind == "activations" else CATALOG[kind])
    if near is None and kind != "activations":
        near = close_to(name, ALIASES[kind])
    if near:
        return f"{sentence}: did you mean '{near}'?"
    if kind == "layers":
        return f"{sentence}: only layers that Keras 3 itself brings are allowed, and {CODE}."
    return f"{sentence}: only classes that Keras 3 itself brings are allowed, by their plain names."
