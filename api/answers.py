"""Answers that went well: JSON, and a job as users see it."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from pydantic import BaseModel

from api import schemas
from shared.listing import Job, Result, Waiting
from shared.states import CancelMode, Lane

_LINKS = ("events", "attempts", "metrics", "history", "logs", "checkpoints", "artifacts", "result")


def answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a model as JSON; what is not finite becomes null."""
    return Response(model.model_dump_json(), status, dict(headers or {}), mimetype="application/json")


def job(row: Job, *, waiting: Waiting | None = None, spec: bool = True, outcome: Result | None = None) -> schemas.Job:
    """Return a job as users see it; lists leave the spec out, and only who waited for its end gets its result."""
    return schemas.Job.model_construct(
        **_fields(row, waiting),
        spec=row.spec if spec else None,
        result=result(outcome) if outcome is not None else None,
    )


def result(found: Result) -> schemas.Result:
    """Return a result as users see it."""
    return schemas.Result.model_construct(**vars(found))


def _fields(row: Job, waiting: Waiting | None) -> dict[str, Any]:
    same = ("id", "kind", "name", "state", "attempt", "progress", "worker", "parent_id")
    asked = ("priority", "seed", "retries", "tags")
    times = ("created_at", "queued_at", "started_at", "finished_at", "deleted_at")
    return {name: getattr(row, name) for name in (*same, *asked, *times)} | {
        "queue_position": waiting.position if waiting else None,
        "waiting_reason": waiting.reason if waiting else None,
        "error": schemas.JobError(code=row.error_code, message=row.error_message or "") if row.error_code else None,
        "cancel_requested": CancelMode(row.cancel_mode) if row.cancel_mode else None,
        "paused": row.held,
        "lane": Lane(row.lane),
        "links": {"self": path(row.id)} | {name: f"{path(row.id)}/{name}" for name in _LINKS},
    }


def path(job_id: str) -> str:
    """Return a job's address."""
    return f"/v1/jobs/{job_id}"
