"""What tells jobs apart: their specs and their metrics, side by side. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fitq import text

#: A place that a spec does not have.
ABSENT = object()
#: Ends of the names of metrics of which less is better, whatever else the names contain.
_LESS = ("loss", "error", "mae", "mse", "entropy", "divergence")
#: Parts of the names of metrics of which more is better.
_MORE = (
    *("acc", "auc", "precision", "recall", "f1", "fbeta", "fscore", "iou", "io_u", "r2", "dice"),
    *("specificity", "sensitivity", "correlation", "cosine_similarity", "true_positives", "true_negatives"),
)


def places(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested objects, and lists that hold any, by dotted paths."""
    if isinstance(value, Mapping) and value:
        parts: Iterable[tuple[object, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        parts = enumerate(value)
    else:
        return {name: value}
    return {place: one for key, part in parts for place, one in places(part, f"{name}.{key}".lstrip(".")).items()}


def differences(specs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the places where specs differ, and what each has there, or `ABSENT`."""
    found = [places(spec) for spec in specs]
    rows = {place: [one.get(place, ABSENT) for one in found] for one in found for place in one}
    return {place: values for place, values in rows.items() if any(value != values[0] for value in values)}


def more_is_better(name: str) -> bool:
    """Whether a greater value of a metric is the better one, as the view `v_best_epoch` decides."""
    lowered = name.lower()
    return not lowered.endswith(_LESS) and any(part in lowered for part in _MORE)


def measured(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the best and the last value of each metric, with their epochs from 0; only finite ones can be best."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    return {name: _best_and_last(name, found) for name, found in by_name.items()}


def _best_and_last(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = max(rows, key=lambda row: row["epoch"])
    sign = -1 if more_is_better(name) else 1
    finite = [row for row in rows if row["value"] is not None]
    best = min(finite, key=lambda row: (sign * row["value"], row["epoch"]), default=None)
    return {
        "best": best["value"] if best else None,
        "best_epoch": best["epoch"] if best else None,
        "last": last["value"],
        "last_epoch": last["epoch"],
        "last_kind": last["value_kind"],
    }


def scored(value: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metrics of an evaluation's result in the form of `measured`: one value, and no epoch."""
    kinds = value.get("value_kinds") or {}
    return {
        name: {
            "best": one,
            "best_epoch": None,
            "last": one,
            "last_epoch": None,
            "last_kind": kinds.get(name, "finite"),
        }
        for name, one in (value.get("metrics") or {}).items()
    }


def epochs(rows: Iterable[Mapping[str, Any]]) -> int:
    """Return how many epochs are complete."""
    return max((row["epoch"] for row in rows), default=-1) + 1


def ran_s(job: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds from a job's first start to its end, or until now; None before the first start."""
    start = text.parsed(job.get("started_at"))
    if start is None:
        return None
    return ((text.parsed(job.get("finished_at")) or now) - start).total_seconds()
