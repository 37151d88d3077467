"""What every part of a spec is made of: strict frozen models, plain words, errors with a place. Pure."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from shared import refs
from shared.errors import BadSpec, FieldError

#: Wrong fields that one answer names: who has so many looks at the first ones.
ERRORS_MOST = 50

JobId = Annotated[
    str, StringConstraints(pattern=r"^job_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]


class File(str):
    """A file that a spec names, as `FilePath` leaves it, so that `files` finds it wherever it stands."""

    __slots__ = ()
    #: Whether it may be a folder, too; and whether what the names of a TensorFlow checkpoint's files begin with.
    folder = False
    prefix = False


class Folder(File):
    """A folder or a file that a spec names."""

    __slots__ = ()
    folder = True


class WeightsFile(File):
    """A file with weights that a spec names, or what the names of a TensorFlow checkpoint's files begin with."""

    __slots__ = ()
    prefix = True


def _is_named_well(value: str) -> str:
    try:
        refs.upload(value)
    except ValueError as error:
        raise PydanticCustomError("file", "{said}", {"said": str(error).rstrip(".")}) from None
    return value


_Named = Annotated[
    str,
    StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\\]+$"),
    AfterValidator(_is_named_well),
]
#: A file: a path below the volume's `data` folder, or `sha256:<64 hex digits>` of a complete upload.
FilePath = Annotated[_Named, AfterValidator(File)]
#: The same, where a folder below `data` does as well.
FolderPath = Annotated[_Named, AfterValidator(Folder)]
#: The same, where what the names of a TensorFlow checkpoint's files below `data` begin with does as well.
WeightsPath = Annotated[_Named, AfterValidator(WeightsFile)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
ArrayName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/@-]{1,200}$")]


class SpecFault(ValueError):
    """A `BadSpec` on its way through pydantic, which takes only ValueErrors for a field's error."""

    def __init__(self, fields: tuple[FieldError, ...]) -> None:
        """Carry the wrong fields, their pointers relative to the value that was checked."""
        super().__init__("; ".join(field.message for field in fields))
        self.fields = fields


def allowed(check: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Check against the allow-list, turning its error into one that pydantic places."""
    try:
        return check(*args, **kwargs)
    except BadSpec as error:
        raise SpecFault(error.fields or (FieldError("", error.message),)) from error


class Part(BaseModel):
    """What every part of a spec has in common: frozen, strict about types and unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def alternatives(field: str, **tags: str) -> Discriminator:
    """Choose a union's member by the key that is there; the tag's angle brackets keep it out of pointers."""

    def choose(value: Any) -> str | None:
        if isinstance(value, Part):
            value = value.model_fields_set
        found = [f"<{tag}>" for key, tag in tags.items() if isinstance(value, (dict, set, frozenset)) and key in value]
        return found[0] if len(found) == 1 else None

    keys = ", ".join(f"'{key}'" for key in tags)
    return Discriminator(
        choose,
        custom_error_type="one_of",
        custom_error_message=f"{field} must be an object with exactly one of {keys}",
    )


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """Return pydantic's errors, and ours inside them, as JSON pointers and sentences; one for each pointer."""
    messages: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False)[:ERRORS_MOST]:
        for field in _fields_of(detail):
            said = messages.setdefault(field.pointer, [])
            if field.message not in said:
                said.append(field.message)
    return tuple(FieldError(place, ", or ".join(said)) for place, said in messages.items())


def _fields_of(detail: ErrorDetails) -> tuple[FieldError, ...]:
    base = pointer(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, SpecFault):
        return tuple(FieldError(base + field.pointer, field.message) for field in cause.fields)
    if detail["type"] == "extra_forbidden":
        return (FieldError(base, "is not a field here"),)
    return (FieldError(base, detail["msg"][:1].lower() + detail["msg"][1:]),)


def files(part: Part) -> Iterator[tuple[str, File]]:
    """Yield each file that a part of a spec names: a JSON pointer to the field, and the file."""
    yield from _files(part, "")


def _files(value: Any, place: str) -> Iterator[tuple[str, File]]:
    if isinstance(value, File):
        yield place, value
    elif isinstance(value, Part):
        for name in type(value).model_fields:
            yield from _files(getattr(value, name), f"{place}/{name}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _files(inner, f"{place}/{_escaped(str(key))}")
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], int | float):
        # Rows of numbers name no files, and there may be many.
        for index, inner in enumerate(value):
            yield from _files(inner, f"{place}/{index}")


def pointer(loc: tuple[int | str, ...]) -> str:
    """Return a location as a JSON pointer, without the names that pydantic gives a union's members."""
    parts = [str(part) for part in loc if not re.fullmatch(r"<.*>|(dict|list)\[.*\]|\[key\]", str(part))]
    if parts and parts[-1] in {"str", "int", "none"}:
        parts.pop()
    return "".join("/" + _escaped(part) for part in parts)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
