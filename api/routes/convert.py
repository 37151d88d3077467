"""Models that are only looked at: an architecture of any Keras, converted."""

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from api import answers, body, problems, schemas
from shared import architecture
from shared.errors import BadSpec, FieldError
from shared.jsontext import TEXT_BYTES_MOST

blueprint = APIBlueprint("convert", __name__, abp_tags=[Tag(name="models")])

_HERE = "/architecture"
#: Room for the longest text as a string of JSON, in which each quotation mark takes two bytes.
_BODY_BYTES = 2 * TEXT_BYTES_MOST


@blueprint.post(
    "/v1/models:convert",
    request_body={
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ConvertBody"}}},
    },
    responses={200: schemas.Conversion, **problems.documented(400, 413, 415, 422)},
)
def convert() -> Response:
    """Convert an architecture that any Keras wrote to Keras 3; name everything that cannot be converted."""
    asked = body.read_model(schemas.ConvertBody, most=_BODY_BYTES)
    try:
        config, changes = architecture.converted(asked.architecture)
    except BadSpec as error:
        fields = tuple(FieldError(_HERE + field.pointer, field.message) for field in error.fields)
        raise BadSpec(error.message, fields=fields) from error
    return answers.answer(schemas.Conversion(architecture=config, changes=changes))
