"""The formats in which a trained model is handed out: their names, file names and content types. Pure."""

from enum import StrEnum
from typing import NamedTuple

_HDF5 = "application/x-hdf5"
_ZIP = "application/zip"
_OCTETS = "application/octet-stream"


class Format(StrEnum):
    """What `GET /v1/jobs/{id}/model?as=…` knows."""

    #: The whole model, compiled, with its optimizer's state.
    KERAS = "keras"
    #: The same in the older format, that of Keras 1 and 2.
    H5 = "h5"
    WEIGHTS_H5 = "weights.h5"
    #: Weights as Keras 1 and 2 write them into `.h5`.
    H5_WEIGHTS = "h5-weights"
    #: Weights as a checkpoint of TensorFlow, in a `.zip`.
    TF = "tf"
    #: The architecture alone.
    JSON = "json"
    YAML = "yaml"
    #: The forward pass alone, in a `.zip`.
    SAVEDMODEL = "savedmodel"
    TFLITE = "tflite"
    ONNX = "onnx"


class File(NamedTuple):
    """How a format's file is called and served."""

    #: What follows the name that the user sees, its dot or dash included.
    ending: str
    content_type: str


FILES: dict[Format, File] = {
    Format.KERAS: File(".keras", _ZIP),
    Format.H5: File(".h5", _HDF5),
    Format.WEIGHTS_H5: File(".weights.h5", _HDF5),
    Format.H5_WEIGHTS: File("-weights.h5", _HDF5),
    Format.TF: File("-tf.zip", _ZIP),
    Format.JSON: File(".json", "application/json"),
    Format.YAML: File(".yaml", "application/yaml"),
    Format.SAVEDMODEL: File("-savedmodel.zip", _ZIP),
    Format.TFLITE: File(".tflite", _OCTETS),
    Format.ONNX: File(".onnx", _OCTETS),
}

#: Formats that hold how the model was compiled and the state of its optimizer.
COMPILED = frozenset({Format.KERAS, Format.H5})
