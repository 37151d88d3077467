"""Which form a file with a model, or with weights, has: told from its bytes, not from its name."""

from enum import StrEnum
from typing import BinaryIO

from shared.errors import BadData
from worker.training.modelfiles import archives, keras_zip, npz, tars

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_START_BYTES = 512


class Form(StrEnum):
    """A form, as messages name what has it."""

    KERAS = "a model"
    NPZ = "a checkpoint of fitq"
    HDF5 = "the weights of a model"
    #: Weights of several files: of TensorFlow, or of Keras 3.
    ZIP = "a zip archive of weights"
    TAR = "a tar archive of weights"
    #: What Keras 3 writes beside weights of several files.
    LIST = "a list of files with weights"


def tell(file: BinaryIO, label: str) -> Form:
    """Return the form of a file. Raise `BadData` when it is none of them."""
    start = file.read(_START_BYTES)
    file.seek(0)
    if start.startswith(_HDF5):
        return Form.HDF5
    if tars.is_tar(start):
        return Form.TAR
    if start.startswith(_ZIP):
        return _of_zip(file, label)
    if start.lstrip().startswith(b"{"):
        return Form.LIST
    raise BadData(
        f"{label} is no model file: it is neither a .keras, an HDF5 file, a checkpoint of fitq, nor a zip or tar "
        "archive of weights."
    )


def _of_zip(file: BinaryIO, label: str) -> Form:
    with archives.opened(file, label) as archive:
        names = archive.names
    file.seek(0)
    if keras_zip.CONFIG in names:
        return Form.KERAS
    return Form.NPZ if npz.MANIFEST in names else Form.ZIP
