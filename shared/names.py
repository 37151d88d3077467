"""Names of the files that a job leaves: relative paths of plain parts, and templates of them. Pure.

A job's file is called as its caller called it (`logs/train/events…`); on the volume it lies under a number. So a name
is never a path here, but it will be one where it is downloaded, and is checked for that.
"""

import re
import string
from collections.abc import Iterator, Mapping

#: Characters of a name, at most: the table's column holds so many.
NAME_MOST = 200
#: A part that every file system takes: no control character, no surrogate, nothing that Windows refuses.
_PART = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]+")
#: A field of a template is a metric's name: no dot and no bracket, with which a format reaches into objects.
_FIELD = re.compile(r"[A-Za-z_@][A-Za-z0-9_@-]{0,99}")
#: How a field is written: `02d`, `.2f`; no width that would take memory.
_FORMAT = re.compile(r"[+-]?0?[0-9]{0,2}(\.[0-9]{1,2})?[defgEFG%]?")


def plain(text: str) -> str:
    """Return a path without the `./` that people write in front of it."""
    while text.startswith("./"):
        text = text[2:].lstrip("/")
    return text


def is_name(text: str) -> bool:
    """Whether text may be the name of a job's file: it stays below whatever folder it is put in."""
    return len(text) <= NAME_MOST and all(_is_part(part) for part in text.split("/"))


def _is_part(part: str) -> bool:
    return part not in {".", ".."} and part == part.strip() and _PART.fullmatch(part) is not None


def is_template(text: str) -> bool:
    """Whether text is a name, or one with fields such as `{epoch:02d}` and `{val_loss:.2f}`."""
    try:
        parts = list(_parts(text))
    except ValueError:
        return False
    return is_name("".join(part if field is None else "0" for part, field, _ in parts))


def has_fields(template: str) -> bool:
    """Whether a template gives more than one name."""
    return any(field is not None for _, field, _ in _parts(template))


def fill(template: str, values: Mapping[str, float]) -> str:
    """Return the name that a template gives. Raise KeyError for an unknown field, ValueError for what is no name."""
    name = "".join(
        part if field is None else format(values[field], how) for part, field, how in _parts(plain(template))
    )
    if not is_name(name):
        raise ValueError(f"'{name[:NAME_MOST]}' is no relative path of at most {NAME_MOST} characters")
    return name


def _parts(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield a template's texts and fields in order. Raise ValueError for a field of another kind than ours."""
    for literal, field, how, conversion in string.Formatter().parse(text):
        yield literal, None, ""
        if field is None:
            continue
        if conversion or not _FIELD.fullmatch(field) or not _FORMAT.fullmatch(how or ""):
            raise ValueError(f"the field {{{field[:40]}}} is none of a metric")
        yield "", field, how or ""
