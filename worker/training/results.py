"""Numbers on their way into a result, which is JSON: NaN and the infinities are facts, kept beside a null."""

import math
from collections.abc import Mapping
from typing import Any

from shared.states import ValueKind


def measured(name: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return `{name: {metric: number or None}, "value_kinds": {metric: kind}}`; kinds only for what is not finite."""
    kinds = {key: ValueKind.of(value).value for key, value in metrics.items() if not math.isfinite(value)}
    values = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
    return {name: values, "value_kinds": kinds}


def json_numbers(value: Any) -> Any:
    """Return nested lists of numbers with None for what JSON has no word for."""
    if isinstance(value, list):
        return [json_numbers(item) for item in value]
    return value if math.isfinite(value) else None
