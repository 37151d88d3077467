"""A job's files: checkpoints and artifacts."""

import re

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, context, downloads, problems, schemas
from api.downloads import Download
from api.queries import ArtifactPath, CheckpointPath, JobPath
from shared import checkpoints, db, listing, names
from shared.errors import NotFound

blueprint = APIBlueprint("files", __name__, abp_tags=[Tag(name="files", description="Checkpoints, artifacts, logs")])

_OCTETS = "application/octet-stream"
_EPOCH = re.compile(r"[0-9]{1,15}")


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
    responses={**downloads.documented(_OCTETS), 304: None, **problems.documented(400, 404, 416, 503)},
)
def read_checkpoint(path: CheckpointPath) -> Response:
    """Download a checkpoint. The ETag is its SHA-256; ranges and conditions are understood."""
    here = context.current()
    wanted = int(path.name) if _EPOCH.fullmatch(path.name) else path.name

    def find() -> Download:
        with db.read(here.engine) as connection:
            listing.require(connection, path.job_id)
            saved = checkpoints.find(connection, path.job_id, wanted)
        if saved is None:
            raise NotFound(f"Job {path.job_id} has no checkpoint '{path.name[:100]}' (any more).")
        return Download(saved.file, f"{path.job_id}-{saved.name}.npz", _OCTETS, saved.created_at)

    return downloads.send(here, find)


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
    responses={**downloads.documented(_OCTETS), 304: None, **problems.documented(400, 404, 416, 503)},
)
def read_artifact(path: ArtifactPath) -> Response:
    """Download an artifact, such as `predictions.npz` or `logs/train.csv`. The ETag is its SHA-256."""
    here = context.current()
    missing = NotFound(f"Job {path.job_id} has no artifact '{path.name[:100]}'.")
    if not names.is_name(path.name):
        raise missing

    def find() -> Download:
        with db.read(here.engine) as connection:
            listing.require(connection, path.job_id)
            found = listing.artifact(connection, path.job_id, path.name)
        if found is None:
            raise missing
        file, kind = found
        return Download(file, f"{path.job_id}-{path.name.rpartition('/')[2]}", kind, None)

    return downloads.send(here, find)
