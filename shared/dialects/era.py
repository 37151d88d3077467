"""Which Keras wrote an architecture, and what it left unsaid. Pure."""

import re
from collections.abc import Iterator
from typing import Any

#: The Keras whose configurations need no conversion.
NEWEST = 3
#: Arguments that only Keras 0 and 1 wrote.
_ONE = frozenset(
    {"nb_filter", "border_mode", "inner_activation", "W_regularizer", "consume_less", "input_dtype", "b_constraint"}
    | {"nb_row", "filter_length", "subsample", "subsample_length", "pool_length", "inner_init", "dim_ordering"}
)


def era(value: Any) -> int:
    """Return 0, 1, 2 or 3. The version that is written down decides; else what only one of them wrote."""
    if not isinstance(value, dict):
        return NEWEST
    version = value.get("keras_version")
    if isinstance(version, str) and version.startswith("tfjs"):
        return 2
    if isinstance(version, str) and (match := re.match(r"v?(\d+)", version)):
        return min(int(match[1]), NEWEST)
    if "class_name" not in value and ("layers" in value or "node_config" in value):
        return 0
    signs = set(_signs(value))
    for sign, found in (("one", 1), ("three", 3), ("two", 2)):
        if sign in signs:
            return found
    return NEWEST


def data_format(value: Any, written: int) -> str | None:
    """Return the data format of image layers that do not say theirs, None for Keras 3's own.

    Keras 1 left it out of some layers, for which its settings held: the other layers tell them. Keras 0 began with
    Theano's alone.
    """
    known = {"th": True, "channels_first": True, "tf": False, "channels_last": False}
    said = [item.get("dim_ordering", item.get("data_format")) for item in _objects(value)]
    first = {known[form] for form in said if isinstance(form, str) and form in known}
    if first:
        return "channels_first" if first == {True} else None
    return None if written else "channels_first"


def _signs(value: Any) -> Iterator[str]:
    if isinstance(value.get("config"), list):
        yield "two"
    for item in _objects(value):
        yield from _signs_of(item)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield item
            waiting.extend(item.values())


def _signs_of(item: dict[str, Any]) -> Iterator[str]:
    if not _ONE.isdisjoint(item):
        yield "one"
    if "batch_input_shape" in item:
        yield "two"
    nodes = item.get("inbound_nodes")
    if isinstance(nodes, list) and nodes:
        yield "three" if isinstance(nodes[0], dict) and "args" in nodes[0] else "two"
    if "batch_shape" in item:
        yield "three"
