"""What every request passes on its way in and out: its id, and no parameter that is not known."""

import re
import uuid

from flask import Flask, Response, current_app, g, request

from shared.errors import BadRequest

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def install(app: Flask) -> None:
    """Give each request its id, and refuse query parameters where none are known."""
    app.before_request(_take_id)
    app.before_request(_refuse_parameters)
    app.after_request(_finish)


def current_id() -> str:
    """Return the id of this request."""
    return str(g.request_id)


def _take_id() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _refuse_parameters() -> None:
    if not request.args or request.endpoint is None:
        return
    if "query" not in current_app.view_functions[request.endpoint].__annotations__:
        name = next(iter(request.args))[:100]
        raise BadRequest(f"{name}: is not a parameter here")


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = current_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
