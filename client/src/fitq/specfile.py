"""Reading a job from a JSON or YAML file. Pure, but for the file itself.

YAML is read with JSON's types: no dates, no `yes` and `no`, no `1:30` in base 60, and `1e-3` is a
number. A key that stands twice is an error in both.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode

from fitq.errors import BadSpecFile


def load(file: str) -> dict[str, Any]:
    """Return the job in a file, or for `-` in standard input; raise `BadSpecFile`."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return read("<stdin>" if file == "-" else file, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadSpecFile(f"{file}: this is no text: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        raise BadSpecFile(f"{file}: {error.strerror}.") from error


def folder(file: str | None) -> Path:
    """Return the folder in which a job's relative files are looked for."""
    return Path.cwd() if file in {None, "-"} else Path(str(file)).resolve().parent


def read(name: str, text: str) -> dict[str, Any]:
    """Return the job in `text`; `name` is the file's, for the message and for its ending.

    Raise `BadSpecFile` with the file and the line.
    """
    spec = value(name, text)
    if not isinstance(spec, dict):
        raise BadSpecFile(f"{name}: a job is an object, but this is {_kind(spec)}.")
    try:
        json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSpecFile(f"{name}: this cannot be said in JSON: {error}.") from error
    return spec


def value(name: str, text: str) -> Any:
    """Return the value of a JSON or YAML text; raise `BadSpecFile` with the name and the line."""
    return _json(name, text) if _is_json(name, text) else _yaml(name, text)


def inline(text: str) -> Any:
    """Return the value that YAML, or JSON, says in a line; raise `BadSpecFile`."""
    return _yaml("value", text)


def _is_json(name: str, text: str) -> bool:
    ending = Path(name).suffix.lower()
    return ending == ".json" or (ending not in {".yaml", ".yml"} and text.lstrip().startswith("{"))


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")


# --- JSON ---


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadSpecFile(f"{name}:{error.lineno}:{error.colno}: this is no JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise BadSpecFile(f"{name}: this is no JSON: {error}.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"'{twice}' stands twice in one object")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


# --- YAML ---


class _Loader(yaml.SafeLoader):
    """YAML's syntax with JSON's types."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Refuse a key that stands twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' stands twice", node.value[place][0].start_mark
                )
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def _yaml(name: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadSpecFile(f"{name}{place}: this is no YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadSpecFile(f"{name}: this is no YAML: {error}.") from error


def tag(text: str) -> tuple[str, str]:
    """Return the key and value of `key=value`; raise ValueError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"'{text}' is no tag; one looks like key=value")
    return key, value
