"""Uploads: content that jobs use, sent in as many parts as it takes and named by its SHA-256."""

from typing import Any

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from werkzeug.exceptions import UnsupportedMediaType

from api import answers, body, context, problems, schemas
from api.context import Context
from api.queries import UploadPath, UploadsQuery, encode_cursor
from shared import db, refs, uploads
from shared.errors import BadRequest, NotFound
from shared.incoming import WrongOffset
from shared.uploads import Upload
from shared.volume import usage

blueprint = APIBlueprint("uploads", __name__, abp_tags=[Tag(name="uploads", description="Content that jobs use")])

_OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/UploadBody"}}, **_OCTETS},
}
_OFFSET = {
    "name": "Upload-Offset",
    "in": "header",
    "required": True,
    "description": "Bytes of the content that stand before this body: as many as the server has",
    "schema": {"type": "integer", "minimum": 0},
}


def _answers(*statuses: int, refused: tuple[int, ...]) -> dict[str | int, Any]:
    """Return the OpenAPI entries of answers that describe an upload."""
    names = {"Upload-Offset": "Bytes that are there", "Upload-Complete": "`?1` when the upload is complete, else `?0`"}
    headers = {name: {"description": said, "schema": {"type": "string"}} for name, said in names.items()}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Upload"}}}
    said = {"description": "The upload", "headers": headers, "content": content}
    return {**dict.fromkeys(statuses, said), **problems.documented(*refused)}


@blueprint.post(
    "/v1/uploads",
    request_body=_BODY,
    responses=_answers(200, 201, refused=(400, 413, 415, 422, 503, 507)),
)
def create_upload() -> Response:
    """Ask for an upload by its SHA-256 and size, or send a whole content at once.

    JSON asks: 200 means that the server has all of it, 201 that `Upload-Offset` says where to go on. The
    content itself, as `application/octet-stream`, is stored and answered with its SHA-256; what breaks off
    must be sent from its beginning.
    """
    here = context.current()
    if body.is_octets():
        return _taken(here)
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(
            "The body must be JSON with sha256 and bytes, or a file's content as application/octet-stream."
        )
    asked = body.read_model(schemas.UploadBody)
    most = here.settings.upload_max_mb << 20
    if asked.bytes > most:
        raise uploads.too_large(most)
    if missing := _missing(here, asked.sha256, asked.bytes):
        usage.require_room(here.engine, here.settings, missing)
    found = uploads.begin(
        here.engine, here.settings.volume_path, sha256=asked.sha256, size=asked.bytes, name=asked.name
    )
    return _answer(found, 200 if found.complete else 201)


def _missing(here: Context, sha256: str, size: int) -> int:
    """Return how many bytes of a content are not there yet."""
    try:
        with db.read(here.engine) as connection:
            return size - uploads.get(connection, here.settings.volume_path, sha256).offset
    except NotFound:
        return size


def _taken(here: Context) -> Response:
    most = here.settings.upload_max_mb << 20
    usage.require_room(here.engine, here.settings, request.content_length or 0)
    with here.places.taken():
        found, is_new = uploads.take(
            here.engine, here.settings.volume_path, body.pieces(), most=most, size=request.content_length
        )
    return _answer(found, 201 if is_new else 200)


@blueprint.get("/v1/uploads", responses={200: schemas.UploadPage, **problems.documented(400, 503)})
def list_uploads(query: UploadsQuery) -> Response:
    """List uploads, the newest first."""
    here = context.current()
    with db.read(here.engine) as connection:
        rows = uploads.page(connection, here.settings.volume_path, before=query.before, limit=query.limit + 1)
    found = rows[: query.limit]
    cursor = _cursor(found[-1]) if len(rows) > query.limit else None
    page = schemas.UploadPage(data=[_said(one) for one in found], has_more=cursor is not None, next_cursor=cursor)
    return answers.answer(page)


def _cursor(last: Upload) -> str:
    return encode_cursor(f"{last.created_at.isoformat()} {last.sha256}")


@blueprint.get("/v1/uploads/<sha256:sha256>", responses=_answers(200, refused=(400, 404, 503)))
def read_upload(path: UploadPath) -> Response:
    """Read how far an upload is; HEAD answers with `Upload-Offset` and `Upload-Complete` alone."""
    here = context.current()
    with db.read(here.engine) as connection:
        found = uploads.get(connection, here.settings.volume_path, path.sha256)
    return _answer(found, 200)


@blueprint.patch(
    "/v1/uploads/<sha256:sha256>",
    request_body={"required": True, "content": _OCTETS},
    openapi_extensions={"parameters": [_OFFSET]},
    responses=_answers(200, refused=(400, 404, 409, 413, 415, 422, 503, 507)),
)
def append_to_upload(path: UploadPath) -> Response:
    """Add to an upload, from `Upload-Offset` on.

    What arrives stays, also when the connection breaks. 409 says in its own `Upload-Offset` where to go on.
    With the last byte the content's SHA-256 is verified: 422 means that it was another's, and is thrown away.
    """
    here = context.current()
    if not body.is_octets():
        raise UnsupportedMediaType("The body must be a part of the content, as application/octet-stream.")
    offset = _offset()
    try:
        with here.places.taken():
            found = uploads.append(
                here.engine, here.settings.volume_path, path.sha256, offset=offset, pieces=body.pieces()
            )
    except WrongOffset as error:
        headers = [("Upload-Offset", str(error.offset))]
        return problems.problem(error.status, error.code, error.message, headers=headers)
    return _answer(found, 200)


def _offset() -> int:
    said = request.headers.get("Upload-Offset", "")
    if not (said.isascii() and said.isdecimal() and len(said) <= 16):  # noqa: PLR2004 - digits of any file's size
        raise BadRequest("Upload-Offset must say how many bytes of the content stand before this body: a whole number.")
    return int(said)


@blueprint.delete("/v1/uploads/<sha256:sha256>", responses={204: None, **problems.documented(400, 404, 409, 503)})
def delete_upload(path: UploadPath) -> Response:
    """Delete an upload. 409 while a job that has not ended needs it."""
    here = context.current()
    with db.write(here.engine) as connection:
        uploads.delete(connection, here.settings.volume_path, path.sha256)
    return Response(status=204)


def _answer(found: Upload, status: int) -> Response:
    headers = {
        "Upload-Offset": str(found.offset),
        "Upload-Complete": "?1" if found.complete else "?0",
        "Upload-Length": str(found.bytes),
        "Location": f"/v1/uploads/{found.sha256}",
        "Cache-Control": "no-store",
    }
    return answers.answer(_said(found), status, headers)


def _said(found: Upload) -> schemas.Upload:
    names = ("sha256", "bytes", "offset", "complete", "name", "created_at", "seen_at", "complete_at")
    return schemas.Upload(ref=refs.ref(found.sha256), **{name: getattr(found, name) for name in names})
