"""Files of the volume as answers: with their SHA-256 as ETag and Repr-Digest, in ranges where a client asks."""

import base64
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


def send(here: Context, file: StoredFile, name: str, kind: str, at: datetime | None) -> Response:
    """Answer with a file; raise `CheckpointCorrupt` unless it is as recorded."""
    _check(here, file)
    response = send_file(
        here.settings.volume_path / file.path,
        mimetype=kind,
        as_attachment=True,
        download_name=name,
        etag=file.sha256,
        last_modified=at,
    )
    # RFC 9530: the digest of the whole file, whatever range of it is sent.
    response.headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(file.sha256)).decode()}:"
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
