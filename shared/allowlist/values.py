"""Kinds of value that an argument of a Keras class may have. Pure.

A kind says what it accepts, in words that end a sentence (`units must be a whole number from 1 to 65536`), and judges
plain JSON values. `Ref` is the exception: it stands for another Keras object and is judged by `shared/architecture.py`.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared import names

#: The largest number of units, filters and the like.
DIM_MOST = 65_536
#: The largest size of one axis of a shape: signals are long, and counted words many.
AXIS_MOST = 10_000_000
#: The most elements in a shape whose sizes are all known.
ELEMENTS_MOST = 100_000_000
#: The most axes in a shape.
RANK_MOST = 8
#: The most characters of a user's value that a message repeats.
SHOWN_MOST = 60


class Value(Protocol):
    """A kind of plain value."""

    @property
    def says(self) -> str:
        """Say what is accepted, as the end of `… must be`."""

    def accepts(self, value: object) -> bool:
        """Return whether the value is of this kind."""


@dataclass(frozen=True)
class Whole:
    """A whole number; `true` is none."""

    low: int
    high: int

    @property
    def says(self) -> str:
        """Say the bounds."""
        return f"a whole number from {self.low} to {self.high}"

    def accepts(self, value: object) -> bool:
        """Return whether the value is an int within the bounds."""
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True)
class Real:
    """A finite number; `below` leaves the upper bound out, `above` the lower one."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    @property
    def says(self) -> str:
        """Say the bounds."""
        start = f"{'above' if self.above else 'from'} {_digits(self.low)}"
        return f"a number {start} to {'less than ' if self.below else ''}{_digits(self.high)}"

    def accepts(self, value: object) -> bool:
        """Return whether the value is a finite int or float within the bounds."""
        if (type(value) is not int and type(value) is not float) or not math.isfinite(value):
            return False
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)


def _digits(number: float) -> str:
    return str(int(number) if number == int(number) else number)


@dataclass(frozen=True)
class Flag:
    """True or false; 0 and 1 are numbers."""

    @property
    def says(self) -> str:
        """Say both."""
        return "true or false"

    def accepts(self, value: object) -> bool:
        """Return whether the value is a bool."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Off:
    """One value only, and why: what is asked for otherwise has no meaning in a job."""

    says: str
    value: object = False

    def accepts(self, value: object) -> bool:
        """Return whether the value is that one."""
        return value == self.value and type(value) is type(self.value)


@dataclass(frozen=True)
class Word:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def says(self) -> str:
        """List the words."""
        return " or ".join(f"'{word}'" for word in self.words)

    def accepts(self, value: object) -> bool:
        """Return whether the value is one of the words."""
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True)
class Text:
    """Text of a form; the whole of it must match."""

    pattern: re.Pattern[str]
    says: str

    def accepts(self, value: object) -> bool:
        """Return whether the value is text of that form."""
        return isinstance(value, str) and self.pattern.fullmatch(value) is not None


@dataclass(frozen=True)
class FileName:
    """The name of a file or folder that the job leaves; `template` also takes Keras's format fields."""

    template: bool = False
    most: int = names.NAME_MOST

    @property
    def says(self) -> str:
        """Say the limits."""
        fields = ", with fields such as {epoch:02d} and {val_loss:.2f}" if self.template else ""
        return f"a relative path of at most {self.most} characters{fields}, without '..' or any of \\ : * ? \" < > |"

    def accepts(self, value: object) -> bool:
        """Return whether the value is such a name; a `./` in front is left out."""
        judge = names.is_template if self.template else names.is_name
        return isinstance(value, str) and len(value) <= self.most and judge(names.plain(value))


@dataclass(frozen=True)
class Nothing:
    """Only null: an argument that Keras writes and that a spec cannot use."""

    @property
    def says(self) -> str:
        """Say null."""
        return "null"

    def accepts(self, value: object) -> bool:
        """Return whether the value is null."""
        return value is None


@dataclass(frozen=True)
class Either:
    """A value of one of two kinds."""

    first: Value
    second: Value

    @property
    def says(self) -> str:
        """Say both."""
        return f"{self.first.says} or {self.second.says}"

    def accepts(self, value: object) -> bool:
        """Return whether one of the kinds accepts the value."""
        return self.first.accepts(value) or self.second.accepts(value)


@dataclass(frozen=True)
class Many:
    """A list of values of one kind."""

    item: Value
    most: int
    least: int = 1

    @property
    def says(self) -> str:
        """Say the length and the kind."""
        return f"a list of {self.least} to {self.most} entries, each {self.item.says}"

    def accepts(self, value: object) -> bool:
        """Return whether the value is a list of such values."""
        return (
            isinstance(value, list)
            and self.least <= len(value) <= self.most
            and all(self.item.accepts(item) for item in value)
        )


@dataclass(frozen=True)
class Nested:
    """A value of one kind, or lists of it, `depth` deep at the most."""

    item: Value
    depth: int

    @property
    def says(self) -> str:
        """Say the kind."""
        return f"{self.item.says}, or nested lists of it"

    def accepts(self, value: object) -> bool:
        """Return whether the value is such a nest."""
        return self._accepts(value, self.depth)

    def _accepts(self, value: object, depth: int) -> bool:
        if not isinstance(value, list):
            return self.item.accepts(value)
        return depth > 0 and bool(value) and all(self._accepts(item, depth - 1) for item in value)


@dataclass(frozen=True)
class Fields:
    """An object with some of the named entries, each of one kind."""

    names: tuple[str, ...]
    item: Value

    @property
    def says(self) -> str:
        """Say the names and the kind."""
        return f"an object with {', '.join(self.names)}, each {self.item.says}"

    def accepts(self, value: object) -> bool:
        """Return whether the value is such an object."""
        return isinstance(value, dict) and all(
            name in self.names and self.item.accepts(item) for name, item in value.items()
        )


@dataclass(frozen=True)
class Shape:
    """A list of sizes; null is an axis of unknown size, and `free` also lets -1 be one."""

    least: int = 0
    free: bool = False

    @property
    def says(self) -> str:
        """Say the limits."""
        unknown = "null or -1" if self.free else "null"
        return (
            f"a list of {self.least} to {RANK_MOST} sizes, each {unknown} or a whole number from 1 to {AXIS_MOST}, "
            f"with {ELEMENTS_MOST} elements at the most"
        )

    def accepts(self, value: object) -> bool:
        """Return whether the value is a shape within the limits."""
        if not isinstance(value, list) or not self.least <= len(value) <= RANK_MOST:
            return False
        size = Whole(1, AXIS_MOST)
        known = [item for item in value if item is not None and not (self.free and item == -1)]
        return all(size.accepts(item) for item in known) and math.prod(known) <= ELEMENTS_MOST


@dataclass(frozen=True)
class Ref:
    """Another Keras object of a kind: a name, the short form, or a Keras configuration.

    `plain` is what may stand in its place; `many` asks for a list of them; `only` narrows the classes.
    """

    kind: str
    null: bool = True
    many: bool = False
    plain: Value | None = None
    only: frozenset[str] | None = None


def maybe(value: Value) -> Either:
    """Return the kind that also accepts null."""
    return Either(value, Nothing())


def sizes(low: int, high: int, *, most: int = 3) -> Either:
    """Return the kind of a number, or of a list with one for each axis."""
    return Either(Whole(low, high), Many(Whole(low, high), most))


def shown(value: object) -> str:
    """Return a user's value as it may stand in a message: one short line of ASCII."""
    if isinstance(value, str):
        text = "'" + json.dumps(value)[1:-1] + "'"
    else:
        text = json.dumps(value) if not isinstance(value, Sequence | dict) or len(value) < SHOWN_MOST else "this"
    return text if len(text) <= SHOWN_MOST else text[: SHOWN_MOST - 1] + "…"
