import json
import math
from datetime import UTC, datetime

import pytest

from fitq import ids, text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain äöü", "plain äöü"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07rest", "rest"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\nthree\n\tfour"),
        ("right\u202eleft", "rightleft"),
        ("\x1bPpayload\x1b\\x", "x"),
        ("\x1b(B\x1bMup", "up"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_left(said, shown):
    assert text.clean(said) == shown


def test_json_for_programs_is_ascii_and_whole():
    value = {"name": "\x9b2J ä \u202e", "list": [1, None]}
    assert text.as_json(value).isascii()
    assert json.loads(text.as_json(value)) == value


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (0.51234567, "finite", "0.5123"),
        (0.00001234, "finite", "1.2340e-05"),
        (12345678.0, "finite", "1.2346e+07"),
        (0.0, "finite", "0.0"),
        (3, "finite", "3"),
        (None, "nan", "nan"),
        (None, "-inf", "-inf"),
        (None, "finite", "not finite"),
        (math.pi, "finite", "3.1416"),
    ],
)
def test_numbers_look_as_in_keras(value, kind, shown):
    assert text.number(value, kind) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0s"), (9.96, "10.0s"), (59.7, "60s"), (61, "1m 1s"), (3600, "1h 0m"), (90061, "1d 1h"), (-1, "0.0s")],
)
def test_spans(seconds, shown):
    assert text.span(seconds) == shown


def test_ages():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert text.age("2026-01-01T23:59:30Z", now) == "30s"
    assert text.age("2026-01-01T00:00:00Z", now) == "1d"
    assert text.age("2026-01-01T22:58:00", now) == "1h"
    assert text.age("2026-01-03T00:00:00Z", now) == "0s"
    assert text.age(None, now) == ""
    assert text.age("no time", now) == ""


def test_nested_values_become_lines():
    value = {"metrics": {"loss": 0.25, "ok": True}, "classes": ["a", "b"], "none": None, "rows": list(range(500))}
    assert text.flat(value) == [
        ("metrics.loss", "0.2500"),
        ("metrics.ok", "yes"),
        ("classes", '["a", "b"]'),
        ("none", "-"),
        ("rows", "500 items"),
    ]


ONE = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"
TWO = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e99"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (ONE, [ONE]),
        (ONE[4:], [ONE]),
        ("job_0193a2c4", [ONE, TWO]),
        ("0193", [ONE, TWO]),
        ("9d8e21", [ONE]),
        ("…1f6f3a9d8e99", [TWO]),
        ("9D8E21", [ONE]),
        ("e21", []),
        ("7c51-b2f0", []),
        ("fashion", []),
        ("", []),
    ],
)
def test_an_id_may_be_shortened_to_its_beginning_or_its_end(said, meant):
    assert ids.candidates(said, [ONE, TWO], key=str) == meant


def test_a_whole_id_is_known():
    assert ids.is_whole(ONE)
    assert not ids.is_whole(ONE[:-1])
    assert not ids.is_whole("../" + ONE)
    assert ids.short(ONE) == "1f6f3a9d8e21"
