"""Files of the volume as answers: with their SHA-256 as ETag and Repr-Digest, in ranges where a client asks."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, request, send_file

from api.context import Context
from shared import store
from shared.errors import CheckpointCorrupt
from shared.store import StoredFile


def documented(kind: str) -> dict[str | int, Any]:
    """Return the OpenAPI entries of a download."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": "The file", "content": content}, 206: {"description": "The range", "content": content}}


@dataclass(frozen=True)
class Download:
    """A file of the volume, and what it is called on its way."""

    file: StoredFile
    name: str
    content_type: str
    at: datetime | None


def send(here: Context, find: Callable[[], Download]) -> Response:
    """Answer with the file that `find` names; raise `CheckpointCorrupt` unless it is as recorded.

    A file that was replaced between the look at its row and its opening is looked for once more: what a running job
    leaves is replaced by newer content of the same name.
    """
    before = None
    while True:
        found = find()
        try:
            return _sent(here, found)
        except CheckpointCorrupt:
            if found == before:
                raise
            before = found


def _sent(here: Context, found: Download) -> Response:
    _check(here, found.file)
    try:
        response = send_file(
            here.settings.volume_path / found.file.path,
            mimetype=found.content_type,
            as_attachment=True,
            download_name=found.name,
            etag=found.file.sha256,
            last_modified=found.at,
        )
    except FileNotFoundError as error:
        raise CheckpointCorrupt(f"{found.file.path} is not there.") from error
    # RFC 9530: the digest of the whole file, whatever range of it is sent.
    digest = base64.b64encode(bytes.fromhex(found.file.sha256)).decode()
    response.headers["Repr-Digest"] = f"sha-256=:{digest}:"
    return response


def _check(here: Context, file: StoredFile) -> None:
    """Raise `CheckpointCorrupt` unless the file is as recorded; of a part, only the size is looked at."""
    if request.method == "GET" and not request.range and not request.if_none_match:
        store.verify(here.settings.volume_path, file)
        return
    try:
        size = (here.settings.volume_path / file.path).stat().st_size
    except OSError as error:
        raise CheckpointCorrupt(f"{file.path} cannot be read: {error.strerror}.") from error
    if size != file.bytes:
        raise CheckpointCorrupt(f"{file.path} has {size} bytes, not {file.bytes} as recorded.")
