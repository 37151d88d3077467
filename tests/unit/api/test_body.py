"""JSON from a stranger: parsed strictly, or refused with a sentence."""

import json

import pytest

from api.body import DEPTH, strict_json
from shared.errors import BadRequest


@pytest.mark.parametrize("value", [{}, [], "text", 1, 1.5, None, {"a": [1, {"b": "\N{SNOWMAN}"}]}, "\U0001f600"])
def test_json_is_json(value: object) -> None:
    assert strict_json(json.dumps(value).encode()) == value
    assert strict_json(json.dumps(value, ensure_ascii=False).encode()) == value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_depth_has_a_limit() -> None:
    strict_json(nested(DEPTH))
    with pytest.raises(BadRequest, match="nested"):
        strict_json(nested(DEPTH + 2))
    with pytest.raises(BadRequest, match="nested"):
        strict_json(b'{"a":' * (DEPTH + 2) + b"1" + b"}" * (DEPTH + 2))


def test_width_has_none() -> None:
    assert len(strict_json(json.dumps([[1.0] * 10] * 10_000).encode())) == 10_000


@pytest.mark.parametrize(
    "text", ["", " ", "nul", "[1,]", "{'a': 1}", '{"a": 1, "a": 1}', "NaN", "[Infinity]", "1e400", "-1e400", "9" * 99]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        strict_json(text.encode())


@pytest.mark.parametrize("text", [r'"\u0000"', r'{"\u0000": 1}', r'"\\\u0000"', r'"\ud800"', r'["\udc00\ud800"]'])
def test_characters_that_no_database_takes_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        strict_json(text.encode())


@pytest.mark.parametrize("text", [r'"\\u0000"', r'"\\\\u0000"', r'"\ud83d\ude00"', r'"\u0001"'])
def test_characters_that_look_like_them_are_taken(text: str) -> None:
    assert strict_json(text.encode()) == json.loads(text)
