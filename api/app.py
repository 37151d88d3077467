"""The Flask application: HTTP in, JSON out."""

from flask import Flask
from flask_openapi.models.info import Info
from flask_openapi.openapi import OpenAPI
from werkzeug.routing import BaseConverter

from api import context, problems, requests
from api.context import Context
from api.routes import (
    check,
    convert,
    docs,
    events,
    files,
    fleet,
    health,
    jobs,
    logs,
    metrics,
    model,
    results,
    uploads,
    wishes,
)
from api.schemas import Problem
from shared.settings import Settings

#: The version of the HTTP interface, as in its paths.
VERSION = "1"


class _JobId(BaseConverter):
    """A job's id in a path; anything else is no address of ours (404)."""

    regex = r"job_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class _Sha256(BaseConverter):
    """A SHA-256 in a path; anything else is no address of ours (404)."""

    regex = r"[0-9a-f]{64}"


def bare() -> OpenAPI:
    """Return the application without database and broker: all it can do is describe itself."""
    app = OpenAPI(
        "fitq",
        info=Info(title="fitq", version=VERSION, description="A job queue that trains Keras models."),
        validation_error_status=400,
        validation_error_model=Problem,
        validation_error_callback=problems.wrong_parameters,
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = "3.1.1"
    app.url_map.converters["job"] = _JobId
    app.url_map.converters["sha256"] = _Sha256
    requests.install(app)
    problems.install(app)
    for room in (jobs, wishes, check, convert, events, metrics, files, model, logs, results, uploads, fleet, health):
        app.register_api(room.blueprint)
    app.register_blueprint(docs.blueprint)
    return app


def create_app(settings: Settings) -> Flask:
    """Return the application. It connects at the first request."""
    app = bare()
    app.config["ALLOWED_HOSTS"] = _names(settings)
    context.attach(app, Context(settings))
    return app


def _names(settings: Settings) -> frozenset[str] | None:
    """Return the names that an API on localhost answers to; None (any) for one that the network reaches."""
    own = {"localhost", "127.0.0.1", "::1"}
    if settings.host not in own:
        return None
    return frozenset(own | set(filter(None, settings.allowed_hosts.replace(" ", "").split(","))))
