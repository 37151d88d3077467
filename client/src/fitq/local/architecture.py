"""A local model's architecture as the spec takes it, with a refusal by name for what is not Keras's own."""

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fitq.errors import CannotTravel

#: Layers that hold Python code although they are Keras's own.
_CODE = frozenset({"Lambda", "__lambda__"})
#: Models that are made of layers.
_KINDS = frozenset({"Sequential", "Functional"})
#: What Keras writes beside a configuration and a worker does not want: it reads the file of weights.
_BESIDE = frozenset({"build_config", "compile_config"})


def described(model: Any) -> dict[str, Any]:
    """Return a built model's architecture as JSON. Raise `CannotTravel` naming what a worker cannot make."""
    check(model)
    written: dict[str, Any] = json.loads(model.to_json())
    for layer, thing in _things(written, ""):
        _refuse(layer, thing)
    stripped: dict[str, Any] = _stripped(written)
    return stripped


def check(model: Any) -> None:
    """Raise `CannotTravel` unless this is a Keras 3 model made of layers, Sequential or functional."""
    if type(model).__module__.startswith(("tf_keras.", "tensorflow.python.keras.")):
        raise CannotTravel(
            "The model was made with Keras 2 (tf_keras): make it with keras 3, or submit its to_json() as a spec."
        )
    if not isinstance(model, keras.Model):
        raise CannotTravel(f"The model is a {type(model).__name__}, not a keras.Model.")
    if type(model).__name__ not in _KINDS or not type(model).__module__.startswith("keras."):
        raise CannotTravel(
            f"The model's class {type(model).__name__} is your own, and no code travels: "
            "make it as keras.Sequential or as keras.Model(inputs, outputs)."
        )
    _refuse_lambdas(model)
    if keras.config.floatx() != "float32":
        raise CannotTravel(f"keras.config.floatx() is {keras.config.floatx()}; arrays travel as float32 only.")


def _refuse_lambdas(model: Any) -> None:
    """Refuse Lambda layers before Keras writes them down, which it does with a warning."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Lambda):
            raise CannotTravel(_code_of(layer.name))
        if isinstance(layer, keras.Model):
            _refuse_lambdas(layer)


def _code_of(layer: str) -> str:
    return f"The layer '{layer}' is a Lambda, and no code travels: use a built-in layer (Rescaling, Reshape …) instead."


def build(model: Any, x: Any) -> None:
    """Build an unbuilt Sequential by the shape of its data, as Keras's `fit` would."""
    if model.built:
        return
    if not isinstance(x, np.ndarray):
        raise CannotTravel("The model is not built and takes several inputs: call it on data once, or give it Inputs.")
    model.build((None, *x.shape[1:]))


def _things(value: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every configuration of an object, with the name of the layer that it belongs to."""
    if isinstance(value, list):
        for item in value:
            yield from _things(item, layer)
    elif isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict) and "class_name" in value and config.get("name"):
            layer = str(config["name"])
        if "class_name" in value:
            yield layer, value
        for key, item in value.items():
            if key not in _BESIDE:
                yield from _things(item, layer)


def _refuse(layer: str, thing: dict[str, Any]) -> None:
    name, module = str(thing["class_name"]), thing.get("module")
    if name in _CODE:
        raise CannotTravel(_code_of(layer))
    if isinstance(thing.get("config"), dict) and thing["config"].get("stateful"):
        raise CannotTravel(f"The layer '{layer}' is stateful, and jobs keep no state between batches: make it without.")
    if module is None:
        own = bool(thing.get("registered_name"))
    else:
        own = not (str(module) in {"keras", "builtins"} or str(module).startswith("keras."))
    if own:
        what = str(thing.get("config")) if name == "function" else name
        raise CannotTravel(
            f"The layer '{layer}' has {what}, which is not Keras's own, and no code travels: "
            "use a built-in, or have the worker's site install it as a package."
        )


def _stripped(value: Any) -> Any:
    """Return a configuration without what is not needed to make the model again."""
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in _BESIDE}
    return value
