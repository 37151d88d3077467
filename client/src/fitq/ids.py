"""Job ids, whole and shortened. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Characters of an id's end that may stand for it, at least: its end is random, its beginning is the time.
SUFFIX = 6

_WHOLE = re.compile(r"job_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_whole(text: str) -> bool:
    """Whether the text is a complete id."""
    return _WHOLE.fullmatch(text) is not None


def candidates(text: str, among: Sequence[T], *, key: Callable[[T], str]) -> list[T]:
    """Return those whose id the text may stand for: its beginning (`job_` may miss) or its end."""
    wanted = text.strip().strip("…").lower().removeprefix("job_")
    if not re.fullmatch(r"[0-9a-f-]+", wanted):
        return []
    return [one for one in among if _means(wanted, key(one).removeprefix("job_"))]


def _means(wanted: str, whole: str) -> bool:
    return whole.startswith(wanted) or (len(wanted) >= SUFFIX and whole.endswith(wanted))


def short(job_id: str) -> str:
    """Return the end of an id, which is enough to name the job."""
    return job_id.rsplit("-", 1)[-1]
