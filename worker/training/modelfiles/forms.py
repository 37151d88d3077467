"""Which form a file with a model, or with weights, has: told from its bytes, not from its name."""

from enum import StrEnum
from typing import BinaryIO

from shared.errors import BadData
from worker.training.modelfiles import archives, bundles, keras_zip, npz, tars

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_START_BYTES = 512
#: How Keras 3 calls the list of weights that it saved in several files.
_SHARDED = ".weights.json"
_IN_ONE = (
    "weights that Keras 3 saved in several files are not read; save them in one: model.save_weights('NAME.weights.h5')"
)


class Form(StrEnum):
    """A form, as messages name what has it."""

    KERAS = "a model"
    NPZ = "a checkpoint of fitq"
    HDF5 = "the weights of a model"
    TF_ZIP = "a zip archive with weights in TensorFlow's format"
    TF_TAR = "a tar archive with weights in TensorFlow's format"


def tell(file: BinaryIO, label: str) -> Form:
    """Return the form of a file. Raise `BadData` when it is none of them."""
    start = file.read(_START_BYTES)
    file.seek(0)
    if start.startswith(_HDF5):
        return Form.HDF5
    if tars.is_tar(start):
        return Form.TF_TAR
    if start.startswith(_ZIP):
        return _of_zip(file, label)
    if start.lstrip().startswith(b"{"):
        raise BadData(f"{label} is no model file but JSON: an architecture stands in the spec itself; {_IN_ONE}.")
    raise BadData(
        f"{label} is no model file: it is neither a .keras, an HDF5 file, a checkpoint of fitq, nor a zip or tar "
        "archive with weights in TensorFlow's format."
    )


def _of_zip(file: BinaryIO, label: str) -> Form:
    with archives.opened(file, label) as archive:
        names = archive.names
    file.seek(0)
    if keras_zip.CONFIG in names:
        return Form.KERAS
    if npz.MANIFEST in names:
        return Form.NPZ
    if bundles.prefix_of(names) is not None:
        return Form.TF_ZIP
    if any(name.endswith(_SHARDED) for name in names):
        raise BadData(f"{label} is no model file: {_IN_ONE}.")
    held = ", ".join(f"'{name[:60]}'" for name in names[:8]) or "nothing"
    raise BadData(
        f"{label} is no model file: the archive has neither '{keras_zip.CONFIG}', a manifest, nor an index of a "
        f"TensorFlow checkpoint, but {held}."
    )
