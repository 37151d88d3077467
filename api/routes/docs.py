"""The OpenAPI document, and a page to read and try it. Everything is served from here: no CDN."""

from importlib.resources import as_file, files
from typing import cast

from flask import Blueprint, Response, current_app, jsonify, send_file
from flask_openapi.openapi import OpenAPI

from api import document

blueprint = Blueprint("docs", __name__)

#: Nothing may come from elsewhere, nor go there.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fitq API</title>
<link rel="icon" href="data:,">
</head>
<body>
<noscript>The document itself: <a href="/openapi.json">/openapi.json</a></noscript>
<script id="api-reference" data-url="/openapi.json"
 data-configuration='{"withDefaultFonts": false, "telemetry": false, "agent": {"disabled": true},
 "mcp": {"disabled": true}, "hideClientButton": true, "showDeveloperTools": "never"}'></script>
<script src="/docs/scalar.js"></script>
</body>
</html>
"""


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI document."""
    return jsonify(document.document(cast("OpenAPI", current_app)))


@blueprint.get("/docs")
def page() -> Response:
    """Return the page that shows it."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})


@blueprint.get("/docs/scalar.js")
def script() -> Response:
    """Return Scalar, from its wheel."""
    with as_file(files("flask_openapi_scalar") / "templates/scalar/js/scalar.standalone.js") as path:
        return send_file(path, mimetype="text/javascript", max_age=3600)
