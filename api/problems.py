"""Every error as `application/problem+json` (RFC 9457), never a traceback."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, make_response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from api import requests
from api.schemas import Problem, ProblemError
from shared import db, log
from shared.errors import FitqError
from shared.parts import ERRORS_MOST, pointer

#: Seconds after which a client may try again what is not possible now.
RETRY_AFTER_S = 1

_JSON = "application/problem+json"
_log = log.get(__name__)


def install(app: Flask) -> None:
    """Answer whatever goes wrong in `app`."""
    app.register_error_handler(FitqError, _fitq)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def documented(*statuses: int) -> dict[str | int, Any]:
    """Return these answers for an operation's OpenAPI entry."""
    content = {_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Iterable[ProblemError] = (),
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    """Return an error's answer."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=request.path,
        request_id=requests.current_id(),
        errors=list(errors) or None,
    )
    response = make_response(body.model_dump_json(exclude_none=True), status)
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-type", "content-length"}]
    response.headers.extend(kept)
    response.headers["Content-Type"] = _JSON
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def wrong_parameters(error: ValidationError) -> Response:
    """Answer query parameters that are wrong or unknown."""
    errors = [
        ProblemError(
            parameter=pointer(detail["loc"]).lstrip("/"),
            detail="is not a parameter here" if detail["type"] == "extra_forbidden" else detail["msg"],
        )
        for detail in error.errors(include_url=False, include_input=False)[:ERRORS_MOST]
    ]
    return problem(400, "bad_request", f"{errors[0].parameter}: {errors[0].detail}", errors=errors)


def _fitq(error: FitqError) -> Response:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("request failed", code=error.code, error=error.message, request_id=requests.current_id())
    errors = [ProblemError(pointer=field.pointer, detail=field.message) for field in error.fields]
    return problem(error.status, error.code, error.message, errors=errors)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    return problem(status, code, _sentence(error), headers=error.get_headers())


def _sentence(error: HTTPException) -> str:
    if isinstance(error, NotFound):
        return f"There is nothing at {request.path}."
    if isinstance(error, MethodNotAllowed):
        return f"{request.path} takes {', '.join(sorted(error.valid_methods or ()))}; not {request.method}."
    return error.description or error.name


def _unexpected(error: Exception) -> Response:
    if db.is_away(error):
        _log.warning("the database is away", error=str(error), request_id=requests.current_id())
        full = "The database's disk is full: make room on it, then try again."
        sentence = full if db.is_full(error) else "The database does not answer; try again."
        return problem(503, "unavailable", sentence)
    _log.error("unexpected error", exc_info=error, request_id=requests.current_id())
    return problem(500, "internal", InternalServerError.description or "")
