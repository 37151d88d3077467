"""Request bodies: read within a limit, parsed strictly."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import ClientDisconnected, UnsupportedMediaType

from api import requests
from shared.errors import BadRequest, BadSpec, TooLarge
from shared.jsontext import parsed
from shared.parts import field_errors
from shared.spec import SPEC_BYTES

#: Objects and arrays inside each other, at most.
DEPTH = 100
#: Bytes of a content that are taken at a time.
PIECE = 1 << 18
#: Seconds for which a client that sends a content may be silent.
SILENCE_S = 60.0

#: Types of a content that is sent as it is; curl's `-T` names none.
_OCTETS = frozenset({"", "application/octet-stream", "application/offset+octet-stream", "application/partial-upload"})

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


Body = TypeVar("Body", bound=BaseModel)


def read_json(most: int = SPEC_BYTES) -> Any:
    """Return the request's JSON value.

    Raises:
        UnsupportedMediaType: It is not declared as plain JSON.
        TooLarge: It has more than `most` bytes, whatever its Content-Length says.
        BadRequest: It is empty, not UTF-8, not JSON, too deep, repeats a key, or holds a number or
            a character that a database cannot.
    """
    coding = request.headers.get("Content-Encoding", "identity")
    if request.mimetype != "application/json" or coding != "identity":
        raise UnsupportedMediaType("The body must be JSON (Content-Type: application/json), not compressed.")
    return strict_json(_read(most))


def is_octets() -> bool:
    """Whether the request brings the content of a file, as it is."""
    return request.mimetype in _OCTETS and request.headers.get("Content-Encoding", "identity") == "identity"


def pieces() -> Iterator[bytes]:
    """Yield the content that the request brings, as it arrives; raise `BadRequest` when it breaks off."""
    with requests.limited_silence(SILENCE_S):
        while True:
            try:
                piece = request.stream.read(PIECE)
            except (ClientDisconnected, OSError) as error:
                raise BadRequest("The connection broke before the content's end.") from error
            if not piece:
                return
            yield piece


def read_model(model: type[Body], most: int = SPEC_BYTES) -> Body:
    """Return the request's JSON body, of so many bytes at most, as `model`."""
    return _validated(model, read_json(most))


def read_optional(model: type[Body]) -> Body:
    """Return the request's body as `model`; without a body, its defaults."""
    if request.content_length in {None, 0} and not request.is_json:
        return model()
    return _validated(model, read_json())


def _validated(model: type[Body], value: Any) -> Body:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = field_errors(error)
        raise BadSpec(f"{fields[0].pointer or 'The body'}: {fields[0].message}", fields=fields) from error


def _read(most: int) -> bytes:
    too_large = TooLarge(f"The body may have at most {most} bytes; larger data belongs on the volume.")
    if (request.content_length or 0) > most:
        raise too_large
    data = bytearray()
    # A chunked body has no length: stop at the first byte too many.
    while len(data) <= most and (part := request.stream.read(most + 1 - len(data))):
        data += part
    if len(data) > most:
        raise too_large
    return bytes(data)


def strict_json(data: bytes) -> Any:
    """Return the value of a JSON text; raise `BadRequest`. See `read_json`."""
    if not data:
        raise BadRequest("The body is empty; it must be JSON.")
    try:
        text = data.decode("utf-8")
        value = parsed(text)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except BadSpec as error:
        raise BadRequest(error.message) from None
    _check_depth(value)
    _check_characters(text, value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH + 1):
        containers = [part for part in level if isinstance(part, dict | list)]
        level = [inner for part in containers for inner in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise BadRequest(f"The JSON text is nested deeper than {DEPTH} levels.")


def _check_characters(text: str, value: Any) -> None:
    if "\\u" not in text:
        return
    if _NUL.search(text):
        raise BadRequest("The JSON text holds the character U+0000.")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("The JSON text holds half of a surrogate pair.") from None
