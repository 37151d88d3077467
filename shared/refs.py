"""How a spec names a file: a path below the volume's `data` folder, or an upload by its SHA-256. Pure."""

import re

#: What an upload's reference begins with.
SCHEME = "sha256:"

_SHA256 = re.compile(r"[0-9a-f]{64}")


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
