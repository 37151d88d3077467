"""JSON from outside, within limits: text is parsed strictly, and any value is copied into plain JSON. Pure."""

import json
import math
from typing import Any

from shared.errors import BadSpec, FieldError

#: Limits on a configuration. Keras 3 writes about 20 objects and arrays for each layer.
TEXT_BYTES_MOST = 4_000_000
#: The same for YAML and Python's literals, which take more time and memory to read.
SLOW_TEXT_BYTES_MOST = 1_000_000
DEPTH_MOST = 32
NODES_MOST = 40_000
VALUES_MOST = 200_000
STRING_BYTES_MOST = 1_024
INTEGER_MOST = 2**53


def escaped(key: str) -> str:
    """Return a key as one step of a JSON pointer (RFC 6901); what UTF-8 cannot hold becomes `?`."""
    return key.encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")


def refused(message: str, pointer: str) -> BadSpec:
    """Return the error of one wrong place."""
    return BadSpec(message, fields=(FieldError(pointer, message),))


def parsed(text: str, *, pointer: str = "") -> Any:
    """Return the value of a JSON text.

    Raises:
        BadSpec: The text is no JSON, too long or too deep, repeats a key, or holds NaN, Infinity or a huge number.
    """
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MOST:
        raise refused(f"The JSON text is longer than {TEXT_BYTES_MOST} bytes.", pointer)
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
    except RecursionError:
        raise refused(f"The JSON text is nested deeper than {DEPTH_MOST} levels.", pointer) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise refused(f"The text is not JSON: {error.msg} at {place}.", pointer) from None
    except ValueError as error:
        raise refused(str(error), pointer) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            message = f"The JSON text has the key {json.dumps(key[:40])} twice in one object."
            raise ValueError(message)
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    message = f"{name} is not a number of JSON."
    raise ValueError(message)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        message = f"The number {digits[:40]} is too large."
        raise ValueError(message)
    return number


def _whole(digits: str) -> int:
    if len(digits) > len(str(INTEGER_MOST)) + 1:
        message = f"Whole numbers may not be larger than {INTEGER_MOST}."
        raise ValueError(message)
    return int(digits)


class _Copy:
    """Copy a value into dicts, lists and scalars of its own, counting."""

    def __init__(self, string_bytes: int) -> None:
        """Start at nothing."""
        self.string_bytes = string_bytes
        self.nodes = 0
        self.values = 0

    def of(self, value: object, pointer: str, depth: int) -> Any:
        """Return the copy of one value; tuples become lists."""
        self.values += 1
        if self.values > VALUES_MOST:
            raise refused(f"The configuration holds more than {VALUES_MOST} values.", pointer)
        if isinstance(value, dict | list | tuple):
            return self._container(value, pointer, depth + 1)
        return _scalar(value, pointer, self.string_bytes)

    def _container(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], pointer: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES_MOST:
            raise refused(f"The configuration holds more than {NODES_MOST} objects and arrays.", pointer)
        if depth > DEPTH_MOST:
            raise refused(f"The configuration is nested deeper than {DEPTH_MOST} levels.", pointer)
        if not isinstance(value, dict):
            return [self.of(item, f"{pointer}/{index}", depth) for index, item in enumerate(value)]
        return {_key(key, pointer): self.of(item, f"{pointer}/{escaped(key)}", depth) for key, item in value.items()}


def _key(key: object, pointer: str) -> str:
    if not isinstance(key, str):
        raise refused("The keys of an object must be text.", pointer)
    if len(key) > STRING_BYTES_MOST:
        raise refused(f"A key is longer than {STRING_BYTES_MOST} bytes.", pointer)
    return key


def _scalar(value: object, pointer: str, string_bytes: int) -> Any:
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > string_bytes:
        raise refused(f"A text is longer than {string_bytes} bytes.", pointer)
    if isinstance(value, int) and abs(value) > INTEGER_MOST:
        raise refused(f"Whole numbers may not be larger than {INTEGER_MOST}.", pointer)
    if isinstance(value, float) and not math.isfinite(value):
        raise refused("NaN and Infinity are not numbers of JSON.", pointer)
    if value is not None and type(value) not in (str, int, float, bool):
        raise refused("The configuration may only hold what JSON can: objects, arrays, text, numbers.", pointer)
    return value


def plain(value: object, *, pointer: str = "", string_bytes: int = STRING_BYTES_MOST) -> Any:
    """Return a copy of the value as plain JSON (tuples become lists), with texts of at most `string_bytes`.

    Raises:
        BadSpec: It holds something that JSON cannot, or is too deep or too large.
    """
    return _Copy(string_bytes).of(value, pointer, 0)
