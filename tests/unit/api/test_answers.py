"""Answers are strict JSON, whatever the numbers were."""

import json
import math
from typing import Any

from api import schemas
from api.answers import answer


def refuse(name: str) -> Any:
    raise AssertionError(name)


def test_what_is_not_finite_is_null() -> None:
    value = {"loss": math.nan, "deep": [{"a": math.inf}, -math.inf, 1.0]}

    body = answer(schemas.CheckAnswer(value)).get_data()

    assert json.loads(body, parse_constant=refuse) == {"loss": None, "deep": [{"a": None}, None, 1.0]}
