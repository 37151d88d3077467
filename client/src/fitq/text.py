"""How values are written for people. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Escape sequences that a terminal would obey (CSI, OSC and the others), as a whole.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL
)
#: What is left: C0 and C1 controls, and the marks that turn a line's direction round.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: Units of a span of time, seconds.
_MINUTE = 60
_SPANS = (("d", 86_400), ("h", 3_600), ("m", _MINUTE))
#: Each unit of bytes is so many of the one before.
_KILO = 1000
#: Spans below this many seconds get a decimal.
_SHORT = 10
#: Values from the first up to the second number need no exponent: Keras's own taste.
_PLAIN = (1e-3, 1e6)
#: Characters of a list, at most, that stand in a table as they are.
_LIST = 200


def clean(text: object) -> str:
    """Return a text without anything that a terminal would obey, but for line ends and tabs."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n")))


def line(text: object) -> str:
    """Return a text as one line without control characters."""
    return " ".join(clean(text).split())


def number(value: float | None, kind: str = "finite") -> str:
    """Write a metric's value as Keras does; None is NaN or an infinity, as `kind` says."""
    if value is None:
        return "not finite" if kind == "finite" else kind
    if isinstance(value, int) or value == 0:
        return str(value)
    return f"{value:.4f}" if _PLAIN[0] <= abs(value) < _PLAIN[1] else f"{value:.4e}"


def metrics(values: Mapping[str, float | None]) -> str:
    """Write one epoch's metrics in a line."""
    return "  ".join(f"{line(name)} {number(value)}" for name, value in values.items())


def span(seconds: float) -> str:
    """Write a span of time by its two largest units."""
    if seconds < _MINUTE:
        return f"{max(seconds, 0):.1f}s" if seconds < _SHORT else f"{seconds:.0f}s"
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in _SPANS:
        if rest >= size or parts:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return " ".join(parts[:2] if len(parts) > 1 else [*parts, f"{rest}s"])


def size(count: int) -> str:
    """Write a number of bytes by its largest unit."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    amount, unit = float(count), 0
    while amount >= _KILO and unit < len(units) - 1:
        amount, unit = amount / _KILO, unit + 1
    return f"{count} bytes" if not unit else f"{amount:.1f} {units[unit]}"


def age(moment: str | None, now: datetime) -> str:
    """Write how long ago an RFC 3339 time was."""
    then = parsed(moment)
    if then is None:
        return ""
    seconds = max((now - then).total_seconds(), 0)
    return f"{seconds:.0f}s" if seconds < _MINUTE else span(seconds).split(" ")[0]


def parsed(moment: str | None) -> datetime | None:
    """Return the moment that an RFC 3339 time names, or None."""
    try:
        found = datetime.fromisoformat(moment) if moment else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def ran_s(job: Mapping[str, Any]) -> float | None:
    """Return the seconds from a job's first start to its end, or None."""
    start, end = parsed(job.get("started_at")), parsed(job.get("finished_at"))
    return (end - start).total_seconds() if start and end else None


def epochs(job: Mapping[str, Any]) -> str:
    """Write how far a job is: epochs of a train job, else its phase."""
    progress = job.get("progress") or {}
    if progress.get("epochs"):
        return f"{progress.get('epoch', 0)}/{progress['epochs']}"
    return line(progress.get("phase") or "")


def as_json(value: Any) -> str:
    """Write JSON for programs: indented, and ASCII only, so that no terminal obeys it."""
    return json.dumps(value, indent=2, ensure_ascii=True)


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested objects as (dotted name, text) lines; long lists are only counted."""
    if isinstance(value, Mapping) and value:
        return [row for key, one in value.items() for row in flat(one, f"{name}.{key}" if name else str(key))]
    return [(line(name), leaf(value))]


def leaf(value: Any) -> str:
    """Write one value of a spec or a result in a line."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, dict)):
        said = json.dumps(value)
        return said if len(said) <= _LIST else f"{len(value)} items"
    return line(value)
