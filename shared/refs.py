"""How a spec names a file: a path below the volume's `data` folder, or an upload by its SHA-256. Pure."""

import re
from collections.abc import Mapping

#: What an upload's reference begins with.
SCHEME = "sha256:"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REFERENCE = re.compile(SCHEME + _SHA256.pattern)
#: Characters of an upload's name, or of the field that names it, that a sentence shows.
_SHOWN = 100


def is_sha256(text: str) -> bool:
    """Whether the text is a SHA-256 in hexadecimal, in lower case."""
    return _SHA256.fullmatch(text) is not None


def ref(sha256: str) -> str:
    """Return the reference by which a spec names an upload."""
    return SCHEME + sha256


def upload(file: str) -> str | None:
    """Return the SHA-256 of the upload that a reference names; None for a path.

    Raise ValueError with a sentence when it begins as a reference and is none.
    """
    if not file.startswith(SCHEME):
        return None
    sha256 = file.removeprefix(SCHEME)
    if not is_sha256(sha256):
        raise ValueError(f"'{file[:100]}' names no upload: behind '{SCHEME}' stand 64 digits from 0-9 and a-f.")
    return sha256


def shown(*names: str | None) -> str:
    """Return the first name in which there is something to see, bounded and without control characters."""
    seen = ("".join(one for one in name or "" if one.isprintable()).strip() for name in names)
    found = next(filter(None, seen), "")
    return found if len(found) <= _SHOWN else f"{found[: _SHOWN - 1]}…"


def told(sentence: str, names: Mapping[str, str]) -> str:
    """Return a sentence with uploads called by their users' `names` for them, by reference, where these are known."""
    return _REFERENCE.sub(lambda found: names.get(found[0], found[0]), sentence)
