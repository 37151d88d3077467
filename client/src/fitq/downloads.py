"""Files from the server: whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(to: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes its name at the end; of one that failed or was interrupted nothing is left."""
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(to)
    finally:
        temporary.unlink(missing_ok=True)
