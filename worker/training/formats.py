"""Writing a model in each format that `shared.formats` names: into a folder, by Keras's and TensorFlow's own means."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format

from shared.dialects import yamltext
from shared.errors import BadSpec
from shared.formats import Format
from worker.training import keras2, tf_weights

Writer = Callable[[Any, Path], Path]


def _keras(model: Any, folder: Path) -> Path:
    path = folder / "model.keras"
    model.save(path)
    return path


def _h5(model: Any, folder: Path) -> Path:
    """Write the whole model so that Keras 3 and, where it has all of the model's layers, Keras 2 load it."""
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_model_to_hdf5(model, file)
        for name, value in keras2.attributes(model, json.loads(file.attrs["training_config"])).items():
            file.attrs[name] = json.dumps(value)
    return path


def _weights_h5(model: Any, folder: Path) -> Path:
    path = folder / "model.weights.h5"
    model.save_weights(path)
    return path


def _h5_weights(model: Any, folder: Path) -> Path:
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def _tf(model: Any, folder: Path) -> Path:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    tf_weights.save(model, checkpoint)
    return checkpoint


def _json(model: Any, folder: Path) -> Path:
    return _text(folder / "model.json", model.to_json())


def _yaml(model: Any, folder: Path) -> Path:
    return _text(folder / "model.yaml", yamltext.to_yaml(json.loads(model.to_json())))


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _savedmodel(model: Any, folder: Path) -> Path:
    path = folder / "savedmodel"
    model.export(path, format="tf_saved_model", verbose=False)
    return path


def _tflite(model: Any, folder: Path) -> Path:
    path = folder / "model.tflite"
    _unrolled(model).export(path, format="litert", verbose=False)
    return path


def _unrolled(model: Any) -> Any:
    """Return a model whose recurrent layers are written out step by step: TFLite has no lists of tensors."""
    config = json.loads(model.to_json())
    if not _unroll(config):
        return model
    made = keras.saving.deserialize_keras_object(config, safe_mode=True)
    made.set_weights(model.get_weights())
    return made


def _unroll(value: Any) -> bool:
    """Set `unroll` wherever a configuration has it; return whether it has."""
    if isinstance(value, list):
        found = [_unroll(one) for one in value]
        return any(found)
    if not isinstance(value, dict):
        return False
    found = [_unroll(one) for one in value.values()]
    if "unroll" in value:
        value["unroll"] = True
    return "unroll" in value or any(found)


def _onnx(model: Any, folder: Path) -> Path:
    if not all(importlib.util.find_spec(name) for name in ("onnx", "tf2onnx")):
        raise BadSpec(
            "ONNX is not installed on the worker: install fitq-server[onnx] there, or ask for another format."
        )
    path = folder / "model.onnx"
    # Keras asks for a model that was called; its symbols do.
    model(model.inputs[0] if len(model.inputs) == 1 else model.input, training=False)
    model.export(path, format="onnx", verbose=False)
    return path


WRITERS: dict[Format, Writer] = {
    Format.KERAS: _keras,
    Format.H5: _h5,
    Format.WEIGHTS_H5: _weights_h5,
    Format.H5_WEIGHTS: _h5_weights,
    Format.TF: _tf,
    Format.JSON: _json,
    Format.YAML: _yaml,
    Format.SAVEDMODEL: _savedmodel,
    Format.TFLITE: _tflite,
    Format.ONNX: _onnx,
}
