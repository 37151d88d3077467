"""What a conversion says besides its result: what it changed, what it had to refuse, and where things stood. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import FieldError
from shared.jsontext import escaped

#: Sentences that one answer lists, and layers that one sentence names.
CHANGES_MOST = 200
NAMED_MOST = 8


class Placed(dict[str, Any]):
    """A converted configuration that knows where its original stands, and how its arguments were called there."""

    def __init__(self, value: Mapping[str, Any], place: str, names: Mapping[str, str] | None = None) -> None:
        """Take the configuration, its original's JSON pointer, and `{new name: old name}`."""
        super().__init__(value)
        self.place = place
        self.names = dict(names or {})
        whole = value if isinstance(value, Placed) else None
        #: The layer through which one argument of each call goes (its number, and the layer), and the one that takes
        #: the results: what was one layer of a Functional model becomes several.
        self.first: tuple[int, dict[str, Any]] | None = whole.first if whole else None
        self.then: dict[str, Any] | None = whole.then if whole else None


@dataclass
class Findings:
    """The sentences of one conversion."""

    errors: list[FieldError] = field(default_factory=list)
    _changes: dict[str, list[str]] = field(default_factory=dict)

    def changed(self, sentence: str, name: object = None) -> None:
        """Note a change, of a layer or of the whole model; the same change of many layers is one sentence."""
        names = self._changes.setdefault(sentence, [])
        if isinstance(name, str) and name not in names:
            names.append(name)

    def wrong(self, pointer: str, message: str) -> None:
        """Note what cannot be converted."""
        self.errors.append(FieldError(pointer, message))

    @property
    def changes(self) -> list[str]:
        """The changes, one sentence each."""
        return [_sentence(text, names) for text, names in self._changes.items()][:CHANGES_MOST]


def _sentence(text: str, names: list[str]) -> str:
    if not names:
        return text
    more = f" and {len(names) - NAMED_MOST} more" if len(names) > NAMED_MOST else ""
    return f"{text} ({', '.join(names[:NAMED_MOST])}{more})"


def settle(value: Any, pointer: str, places: dict[str, str]) -> Any:
    """Return a plain copy; note in `places` where each part that has a new place stood before."""
    if isinstance(value, Placed):
        places[pointer] = value.place
        for new, old in value.names.items():
            places[f"{pointer}/{escaped(new)}"] = f"{value.place}/{escaped(old)}"
    if isinstance(value, dict):
        return {key: settle(item, f"{pointer}/{escaped(key)}", places) for key, item in value.items()}
    if isinstance(value, list):
        return [settle(item, f"{pointer}/{index}", places) for index, item in enumerate(value)]
    return value


def original(pointer: str, places: Mapping[str, str]) -> str:
    """Return where the part at a pointer of the result stands in what was given."""
    parts = pointer.split("/")
    for length in range(len(parts), 0, -1):
        known = "/".join(parts[:length])
        if known in places:
            return places[known] + pointer[len(known) :]
    return pointer
