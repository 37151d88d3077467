"""Python literals as text: `{'class_name': 'Dense', 'config': None}`, as pprint shows a configuration. Pure."""

import ast
import re
from typing import Any

from shared.jsontext import DEPTH_MOST, SLOW_TEXT_BYTES_MOST, refused

_STRING = r"""[uU]?(?:'(?:[^'\\\n]|\\[^\n])*'|"(?:[^"\\\n]|\\[^\n])*")"""
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})"
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[lL]?(?![\w.])"
    r"|(?P<word>None|True|False)\b"
    r"|(?P<open>[\[{(])|(?P<close>[\]})])|(?P<other>[,:])|(?P<space>\s+)"
)
#: What a scalar may not stand directly behind: only strings join each other.
_SCALARS = frozenset({"string", "number", "word"})


def parsed(text: str, *, pointer: str = "") -> Any:
    """Return the value of a Python literal of dicts, lists, tuples, text, numbers, True, False and None.

    Raises:
        BadSpec: It is something else, too long, or nested too deep; nothing of it is ever run.
    """
    if len(text.encode("utf-8", "surrogatepass")) > SLOW_TEXT_BYTES_MOST:
        raise refused(f"The text is longer than {SLOW_TEXT_BYTES_MOST} bytes.", pointer)
    _scan(text, pointer)
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise refused("The text is neither JSON nor a Python literal.", pointer) from None


def _scan(text: str, pointer: str) -> None:
    """Let only flat tokens through, so that no parser meets an expression or a deep nest."""
    place, depth, before = 0, 0, ""
    while place < len(text):
        token = _TOKEN.match(text, place)
        kind = (token.lastgroup or "") if token else ""
        if token is None or (kind in _SCALARS and before in _SCALARS and (kind, before) != ("string", "string")):
            line = text.count("\n", 0, place) + 1
            raise refused(f"The text is neither JSON nor a Python literal: line {line} is neither.", pointer)
        depth += (kind == "open") - (kind == "close")
        if depth > DEPTH_MOST:
            raise refused(f"The text is nested deeper than {DEPTH_MOST} levels.", pointer)
        if kind != "space":
            before = kind
        place = token.end()
