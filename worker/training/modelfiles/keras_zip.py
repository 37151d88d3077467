"""`.keras` files: a zip archive with the architecture as JSON and the weights as HDF5."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from shared.errors import BadData
from worker.training.modelfiles import archives, hdf5

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
#: Bytes of the configuration, at most; Keras writes about 1,500 for each layer.
_CONFIG_BYTES = 4 << 20


def config(file: BinaryIO, label: str) -> dict[str, Any]:
    """Return what `config.json` says, as it stands there: nothing of it has been checked. Raise `BadData`."""
    with archives.opened(file, label) as archive:
        text = archive.read(CONFIG, _CONFIG_BYTES)
    return json_object(text, f"{label}, '{CONFIG}',")


def is_old(file: BinaryIO, label: str) -> bool:
    """Whether Keras 2 wrote the file, by its metadata. Raise `BadData`."""
    with archives.opened(file, label) as archive:
        if METADATA not in archive.names:
            return False
        said = json_object(archive.read(METADATA, _CONFIG_BYTES), f"{label}, '{METADATA}',")
    return str(said.get("keras_version", "3")).partition(".")[0] in {"0", "1", "2"}


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the object that a text of JSON holds. Raise `BadData`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where} is no JSON: {str(error)[:200]}.") from error
    if not isinstance(value, dict):
        raise BadData(f"{where} must hold a JSON object.")
    return value


@contextmanager
def weights(file: BinaryIO, label: str, most: int) -> Iterator[hdf5.Group]:
    """Open the weights for the length of a block; `most` is how many bytes they may have. Raise `BadData`."""
    with archives.opened(file, label) as archive:
        if WEIGHTS not in archive.names:
            raise BadData(f"{label} holds no '{WEIGHTS}'; it holds {', '.join(archive.names[:8]) or 'nothing'}.")
        with archive.unpacked(WEIGHTS, most) as inner, hdf5.opened(inner, f"{label}, '{WEIGHTS}'") as root:
            yield root
