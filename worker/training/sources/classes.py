"""Labels that are words, and the numbers that a model learns for them."""

from collections.abc import Callable, Iterable

import numpy as np

from shared.errors import BadData

#: Different words that labels may be, and characters of one, at most.
_MOST, _LONGEST = 100_000, 200


def found(words: Iterable[str], known: set[str], label: str) -> None:
    """Add words to those that are known. Raise `BadData` when they cannot be classes."""
    known.update(words)
    if len(known) > _MOST:
        raise BadData(f"{label} has more than {_MOST} different labels: these are no classes.")
    wrong = next((word for word in known if not 0 < len(word) <= _LONGEST or not word.isprintable()), None)
    if wrong is not None:
        raise BadData(f"{label} has the label {wrong[:40]!r}; a class has a name of 1 to {_LONGEST} plain characters.")


def numbers(words: list[str], names: tuple[str, ...], where: Callable[[int], str]) -> np.ndarray:
    """Return the number of each word's class. Raise `BadData` naming the place of one that is none."""
    known = {name: number for number, name in enumerate(names)}
    values = np.fromiter((known.get(word, -1) for word in words), np.int64, len(words))
    if (values < 0).any():
        at = int(np.argmax(values < 0))
        raise BadData(f"{where(at)}: the label {words[at][:60]!r} is none of the {len(names)} classes.")
    return values
