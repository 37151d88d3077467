"""YAML as Keras 1 and 2 wrote it, and as this project writes it. Pure.

The text is read event by event: no class of it is ever looked up, the tags that Keras's files hold are known by
name, and sizes, depth and aliases are counted. Keras wrote with PyYAML, so scalars have YAML 1.1's types.
"""

import base64
import binascii
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events

from shared.errors import BadSpec
from shared.jsontext import DEPTH_MOST, INTEGER_MOST, SLOW_TEXT_BYTES_MOST, VALUES_MOST, refused

#: libyaml where it is there: it reads a long text in a fraction of a second.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE = "tag:yaml.org,2002:"
_PYTHON = f"{_CORE}python/"
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON")
_FALSE = re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF")
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9_]+([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_LIST_TAGS = frozenset({f"{_CORE}seq", f"{_PYTHON}tuple", f"{_PYTHON}list"})
_DICT_TAGS = frozenset({f"{_CORE}map", f"{_PYTHON}dict", f"{_CORE}omap"})
_TEXT_TAGS = frozenset({f"{_CORE}str", f"{_PYTHON}unicode", f"{_PYTHON}str"})
_SCALAR_TAGS = {
    f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "python/none", "python/bool", "python/int")
} | {f"{_PYTHON}long", f"{_PYTHON}float"}
_APPLY = re.compile(r"tag:yaml\.org,2002:python/object(?:/apply|/new)?:(.+)")
_WRAPPER = re.compile(r"tensorflow\.python\.[a-z.]+\.data_structures\.(ListWrapper|_DictWrapper|_TupleWrapper)")
_SCALAR = re.compile(r"numpy\.(core|_core)\.multiarray\.scalar")
_ORDERED = "collections.OrderedDict"
_DTYPE = "numpy.dtype"
#: NumPy's kinds of numbers, as `struct` calls them.
_FORMATS = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "b1": "?",
    **{
        f"{kind}{size}": letter
        for kind, letters in (("i", "bhiq"), ("u", "BHIQ"))
        for size, letter in zip((1, 2, 4, 8), letters, strict=True)
    },
}
_REFUSED = "The YAML holds {}, which stands for a Python object; only plain values, tuples and numbers are read."


@dataclass(frozen=True)
class _Number:
    """NumPy's description of a kind of number."""

    name: str
    order: str = "<"


@dataclass
class _Open:
    """A list or an object of which the end has not come yet."""

    tag: str | None
    anchor: str | None
    items: list[Any] = field(default_factory=list)
    mapping: bool = False


class _Reader:
    """Builds one document's value from its events."""

    def __init__(self, pointer: str) -> None:
        """Start at nothing; errors point at the text's own place."""
        self._pointer = pointer
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._values = 0
        self._documents = 0
        self.value: Any = None

    def take(self, event: Any) -> None:
        """Take the next event. Raise `BadSpec`."""
        match event:
            case events.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._wrong("The YAML text holds more than one document.")
            case events.MappingStartEvent() | events.SequenceStartEvent():
                if len(self._open) >= DEPTH_MOST:
                    raise self._wrong(f"The YAML text is nested deeper than {DEPTH_MOST} levels.")
                mapping = isinstance(event, events.MappingStartEvent)
                self._open.append(_Open(event.tag, event.anchor, mapping=mapping))
            case events.MappingEndEvent() | events.SequenceEndEvent():
                done = self._open.pop()
                self._put(self._built(done), done.anchor)
            case events.ScalarEvent():
                self._put(self._scalar(event), event.anchor)
            case events.AliasEvent():
                if event.anchor not in self._anchors:
                    raise self._wrong("The YAML text has an alias of something that is not there, or holds itself.")
                self._put(self._anchors[event.anchor], None)

    def _wrong(self, message: str) -> BadSpec:
        return refused(message, self._pointer)

    def _put(self, value: Any, anchor: str | None) -> None:
        self._values += 1
        if self._values > VALUES_MOST:
            raise self._wrong(f"The YAML text holds more than {VALUES_MOST} values.")
        if anchor is not None:
            self._anchors[anchor] = value
        if self._open:
            self._open[-1].items.append(value)
        else:
            self.value = value

    def _built(self, done: _Open) -> Any:
        tag = None if done.tag in {None, "!"} else done.tag
        value: Any = self._mapping(done.items) if done.mapping else done.items
        if tag is None or tag in (_DICT_TAGS if done.mapping else _LIST_TAGS):
            return value
        name = match[1] if (match := _APPLY.fullmatch(tag)) else ""
        if _WRAPPER.fullmatch(name):
            return self._wrapped(value, name)
        arguments = value.get("args") if isinstance(value, dict) else value
        if name == _ORDERED and isinstance(arguments, list):
            return self._ordered(arguments)
        if name == _DTYPE and isinstance(arguments, list):
            return self._dtype(arguments, value)
        if _SCALAR.fullmatch(name) and isinstance(arguments, list):
            return self._number(arguments)
        raise self._wrong(_REFUSED.format(_shown(tag)))

    def _mapping(self, items: list[Any]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key == "<<":
                raise self._wrong("The YAML text merges objects (<<); write them out.")
            if not isinstance(key, str | int | float | bool):
                raise self._wrong("The keys of the YAML text must be plain.")
            # A key that stands twice: the last one holds, as in PyYAML. Files that were appended to are of that kind.
            made[key] = value
        return made

    def _wrapped(self, value: Any, name: str) -> Any:
        """Return what TensorFlow's wrapper of a list holds, in each form in which PyYAML writes one."""
        empty: Any = {} if "Dict" in name else []
        if isinstance(value, dict):
            state = value.get("state")
            held = state.get("_storage") if isinstance(state, dict) else None
            for found in (value.get("listitems"), value.get("dictitems"), held, value.get("args")):
                if isinstance(found, list | dict):
                    value = found
                    break
            else:
                return empty
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | dict):
            return value[0]
        return value

    def _ordered(self, arguments: list[Any]) -> dict[Any, Any]:
        pairs = arguments[0] if arguments else []
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004
            raise self._wrong("The YAML text holds an OrderedDict that is no list of pairs.")
        return self._mapping([item for pair in pairs for item in pair])

    def _dtype(self, arguments: list[Any], value: Any) -> _Number:
        state = value.get("state") if isinstance(value, dict) else None
        order = state[1] if isinstance(state, list) and len(state) > 1 else "<"
        name = arguments[0] if arguments else None
        if not isinstance(name, str) or name not in _FORMATS or order not in {"<", ">", "|", "="}:
            raise self._wrong("The YAML text holds a NumPy scalar that is no number.")
        return _Number(name, ">" if order == ">" else "<")

    def _number(self, arguments: list[Any]) -> Any:
        try:
            kind, data = arguments
            (number,) = struct.unpack(f"{kind.order}{_FORMATS[kind.name]}", data)
        except (ValueError, TypeError, AttributeError, struct.error):
            raise self._wrong("The YAML text holds a NumPy scalar that is no number.") from None
        return self._finite(number)

    def _finite(self, number: Any) -> Any:
        if isinstance(number, float) and not math.isfinite(number):
            raise self._wrong("NaN and Infinity are not numbers of a configuration.")
        return number

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag in {None, "!"}:
            return self._plain(text) if event.implicit[0] else text
        if tag in _TEXT_TAGS:
            return text
        if tag in _SCALAR_TAGS:
            return self._plain(text)
        if tag == f"{_CORE}binary":
            return self._bytes(text)
        raise self._wrong(_REFUSED.format(_shown(tag)))

    def _plain(self, text: str) -> Any:
        if _NULL.fullmatch(text) or text == "None":
            return None
        if _TRUE.fullmatch(text):
            return True
        if _FALSE.fullmatch(text):
            return False
        if _INT.fullmatch(text):
            return self._whole(text)
        if _FLOAT.fullmatch(text):
            return self._finite(float(text.replace("_", "")))
        if _NOT_FINITE.fullmatch(text):
            return self._finite(math.inf)
        return text

    def _whole(self, digits: str) -> int:
        if len(digits) > len(str(INTEGER_MOST)) + 1:
            raise self._wrong(f"Whole numbers may not be larger than {INTEGER_MOST}.")
        return int(digits.replace("_", ""))

    def _bytes(self, text: str) -> bytes:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong("The YAML text holds binary data that is not base64.") from None


def _shown(text: str) -> str:
    return "'" + text[:80].encode("ascii", "backslashreplace").decode() + "'"


def parsed(text: str, *, pointer: str = "") -> Any:
    """Return the value of a YAML text.

    Raises:
        BadSpec: It is no YAML, too long or too deep, or holds a Python object that is not known to be plain.
    """
    if len(text.encode("utf-8", "surrogatepass")) > SLOW_TEXT_BYTES_MOST:
        raise refused(f"The YAML text is longer than {SLOW_TEXT_BYTES_MOST} bytes.", pointer)
    reader = _Reader(pointer)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        problem = _shown(error.problem or error.context or "it cannot be read")[1:-1]
        raise refused(f"The text is neither JSON nor YAML: {problem}{place}.", pointer) from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise refused("The text is neither JSON nor YAML.", pointer) from None
    return reader.value


class _Dumper(yaml.SafeDumper):
    """Writes plain values so that `parsed` and every YAML 1.1 reader give them back."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks so
        """Write everything out."""
        return True


def _quoted(dumper: Any, text: str) -> Any:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text) and _Reader("")._plain(text) == text  # noqa: SLF001
    return dumper.represent_scalar(f"{_CORE}str", text, style=None if plain else '"')


_Dumper.add_representer(str, _quoted)


def to_yaml(config: dict[str, Any]) -> str:
    """Return a configuration of plain JSON values as YAML text that `parsed` reads back as it was."""
    written: str = yaml.dump(config, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    return written
