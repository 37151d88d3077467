"""What every request passes on its way in and out: its id, and no parameter that is not known."""

import re
import select
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request

from shared.errors import BadRequest, Forbidden

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def install(app: Flask) -> None:
    """Give each request its id, and refuse query parameters where none are known."""
    app.before_request(_take_id)
    app.before_request(_refuse_strangers)
    app.before_request(_refuse_parameters)
    app.after_request(_finish)


def current_id() -> str:
    """Return the id of this request."""
    return str(g.request_id)


@contextmanager
def limited_silence(seconds: float) -> Iterator[None]:
    """Let reads of this request's body end in an error when the client says nothing for so long."""
    found = _socket()
    if found is None:
        yield
        return
    found.settimeout(seconds)
    try:
        yield
    finally:
        with suppress(OSError):
            found.settimeout(None)


def hang_up() -> Callable[[], bool]:
    """Return what tells whether this request's client has gone; False where the server does not show its socket.

    Nothing but a write would tell otherwise, and a quiet text has nothing to write.
    """
    found = _socket()
    return (lambda: False) if found is None else lambda: _is_closed(found)


def _socket() -> socket.socket | None:
    found = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    return found if isinstance(found, socket.socket) else None


def _is_closed(one: socket.socket) -> bool:
    try:
        waiting = select.poll()
        waiting.register(one, select.POLLIN)
        return bool(waiting.poll(0)) and one.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def _take_id() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _refuse_strangers() -> None:
    """Refuse what a web page of somebody else's sends through a browser on this machine.

    An API on localhost answers to its own names only (a page may point its own name here), and a request
    that a page makes must come from this API's pages.
    """
    allowed = current_app.config.get("ALLOWED_HOSTS")
    name = urlsplit(f"//{request.host}").hostname
    if allowed is not None and name not in allowed:
        raise Forbidden(f"This API does not answer to {request.host[:100]!r}: add the name to FITQ_ALLOWED_HOSTS.")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Forbidden("Requests of other sites' pages are refused.")


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
