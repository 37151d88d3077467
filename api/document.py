"""The OpenAPI document: what the routes say, and the job spec as its models in `shared/spec.py` are."""

from typing import Any

from flask_openapi.openapi import OpenAPI
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from api.schemas import CancelBody, ConvertBody, EventPage, ResumeBody, UploadBody
from shared.spec import SPECS, Spec

_PREFIX = "#/components/schemas/"
_NAMES = {kind: model.__name__ for kind, model in SPECS.items()}

#: A job spec as a request's body, told apart by `kind`.
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": f"{_PREFIX}JobSpec"}}},
}


def document(app: OpenAPI) -> dict[str, Any]:
    """Return the document of an application's routes."""
    made: dict[str, Any] = app.api_doc
    made["components"]["schemas"] |= _spec() | _others()
    return made


def _others() -> dict[str, Any]:
    """Return the models that routes name beside others: an optional body, a page that may be a stream."""
    _, schema = models_json_schema(
        [
            (CancelBody, "validation"),
            (ConvertBody, "validation"),
            (ResumeBody, "validation"),
            (UploadBody, "validation"),
            (EventPage, "serialization"),
        ],
        ref_template=_PREFIX + "{model}",
    )
    found: dict[str, Any] = schema["$defs"]
    return found


def _spec() -> dict[str, Any]:
    """Return the JSON schemas of every part of a spec, by name."""
    schema = TypeAdapter(Spec).json_schema(ref_template=_PREFIX + "{model}")
    parts: dict[str, Any] = schema["$defs"]
    for name in _NAMES.values():
        # A default in the model, but the door asks for it.
        parts[name]["required"] = ["kind", *parts[name].get("required", [])]
        parts[name]["properties"]["kind"].pop("default", None)
    union = {
        "oneOf": [{"$ref": _PREFIX + name} for name in _NAMES.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {str(kind): _PREFIX + name for kind, name in _NAMES.items()},
        },
    }
    return {**parts, "JobSpec": union}
