"""The files that a spec names: there, and reached without leaving the volume."""

from pathlib import Path

from shared import store
from shared.errors import BadData, FieldError
from shared.parts import files
from shared.spec import Spec


def check_files(volume: Path, spec: Spec) -> None:
    """Raise `BadData` naming each field whose file is not there, or may not be read."""
    wrong = []
    for pointer, file in files(spec):
        try:
            store.check_data(volume, file, folder=file.folder, prefix=file.prefix)
        except BadData as error:
            wrong.append(FieldError(pointer, error.message))
    if wrong:
        raise BadData(wrong[0].message, fields=tuple(wrong))
