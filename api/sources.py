"""The data files that a spec names: there, and reached without leaving the volume's data folder."""

from collections.abc import Iterator
from pathlib import Path

from shared import store
from shared.errors import BadData, FieldError
from shared.sources.arrays import NpySource, NpzSource
from shared.spec import Spec, TrainSpec


def check_files(volume: Path, spec: Spec) -> None:
    """Raise `BadData` naming each field whose file is not there, or may not be read."""
    wrong = []
    for pointer, path in files(spec):
        try:
            store.open_data(volume, path).close()
        except BadData as error:
            wrong.append(FieldError(pointer, error.message))
    if wrong:
        raise BadData(wrong[0].message, fields=tuple(wrong))


def files(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield each file that a spec names: a JSON pointer to the field, and the path in it."""
    roles = ("train", "validation") if isinstance(spec, TrainSpec) else ("test", "input")
    for role in roles:
        source = getattr(spec.data, role, None)
        if isinstance(source, NpzSource):
            yield f"/data/{role}/npz", source.npz
        elif isinstance(source, NpySource):
            yield f"/data/{role}/npy", source.npy
            if source.labels is not None:
                yield f"/data/{role}/labels", source.labels
