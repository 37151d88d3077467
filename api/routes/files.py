"""A job's files: checkpoints and artifacts."""

import base64
import re
from datetime import datetime
from typing import Any

from flask import Response, request, send_file
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, problems, schemas
from api.context import Context
from api.queries import ArtifactPath, CheckpointPath, JobPath
from shared import checkpoints, db, listing, names, store
from shared.errors import CheckpointCorrupt, NotFound
from shared.store import StoredFile

blueprint = APIBlueprint("files", __name__, abp_tags=[Tag(name="files", description="Checkpoints, artifacts, logs")])

_OCTETS = "application/octet-stream"
_EPOCH = re.compile(r"[0-9]{1,15}")


def _content(kind: str) -> dict[str | int, Any]:
    """Return the OpenAPI entries of a download."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": "The file", "content": content}, 206: {"description": "The range", "content": content}}


@blueprint.get(
    "/v1/jobs/<job:job_id>/checkpoints", responses={200: schemas.CheckpointPage, **problems.documented(400, 404, 503)}
)
def list_checkpoints(path: JobPath) -> Response:
    """List a job's checkpoints, the newest first."""
    with db.read(context.current().engine) as connection:
        listing.require(connection, path.job_id)
        saved = checkpoints.listed(connection, path.job_id)
    return answers.answer(schemas.CheckpointPage(data=[schemas.Checkpoint.model_validate(one) for one in saved]))


@blueprint.get(
    "/v1/jobs/<job:job_id>/checkpoints/<name>/content",
    responses={**_content(_OCTETS), 304: None, **problems.documented(400, 404, 416, 503)},
)
def read_checkpoint(path: CheckpointPath) -> Response:
    """Download a checkpoint. The ETag is its SHA-256; ranges and conditions are understood."""
    here = context.current()
    wanted = int(path.name) if _EPOCH.fullmatch(path.name) else path.name
    with db.read(here.engine) as connection:
        listing.require(connection, path.job_id)
        saved = checkpoints.find(connection, path.job_id, wanted)
    if saved is None:
        raise NotFound(f"Job {path.job_id} has no checkpoint '{path.name[:100]}' (any more).")
    return _download(here, saved.file, f"{path.job_id}-{saved.name}.npz", _OCTETS, saved.created_at)


@blueprint.get(
    "/v1/jobs/<job:job_id>/artifacts", responses={200: schemas.ArtifactPage, **problems.documented(400, 404, 503)}
)
def list_artifacts(path: JobPath) -> Response:
    """List the files that a job left, such as `predictions.npz`."""
    with db.read(context.current().engine) as connection:
        listing.require(connection, path.job_id)
        left = listing.artifacts_of(connection, path.job_id)
    return answers.answer(schemas.ArtifactPage(data=[schemas.Artifact.model_validate(one) for one in left]))


@blueprint.get(
    "/v1/jobs/<job:job_id>/artifacts/<path:name>/content",
    responses={**_content(_OCTETS), 304: None, **problems.documented(400, 404, 416, 503)},
)
def read_artifact(path: ArtifactPath) -> Response:
    """Download an artifact, such as `predictions.npz` or `logs/train.csv`. The ETag is its SHA-256."""
    here = context.current()
    missing = NotFound(f"Job {path.job_id} has no artifact '{path.name[:100]}'.")
    if not names.is_name(path.name):
        raise missing
    with db.read(here.engine) as connection:
        listing.require(connection, path.job_id)
        found = listing.artifact(connection, path.job_id, path.name)
    if found is None:
        raise missing
    file, kind = found
    return _download(here, file, f"{path.job_id}-{path.name.rpartition('/')[2]}", kind, None)


def _download(here: Context, file: StoredFile, name: str, kind: str, at: datetime | None) -> Response:
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
