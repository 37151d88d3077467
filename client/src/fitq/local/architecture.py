"""A local model's architecture as the spec takes it, with a refusal by name for what is not Keras's own."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fitq.errors import CannotTravel
from fitq.local import owncode

#: Where functions come from that a worker's Keras has under the same name.
_TWINS = ("tensorflow.", "tf_keras.")
#: What to do about code of one's own, by the last word of the argument that it was given for.
_REMEDIES = {
    "activation": "use a built-in activation, such as 'relu', or build it of layers",
    "initializer": "use a built-in initializer; the weights that the model has travel, however they came about",
    "regularizer": "use a built-in regularizer, such as keras.regularizers.L2(0.01)",
    "constraint": "use a built-in constraint, such as keras.constraints.MaxNorm(2)",
}
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
    _refuse_code(model)
    if keras.config.floatx() != "float32":
        raise CannotTravel(f"keras.config.floatx() is {keras.config.floatx()}; arrays travel as float32 only.")


def _refuse_code(model: Any) -> None:
    """Refuse code of the caller's before Keras writes it down, which it does with a warning, or cannot do at all."""
    for layer in model._flatten_layers(include_self=False):  # noqa: SLF001 - Keras's only way to the layers within layers
        if isinstance(layer, keras.layers.Lambda):
            raise CannotTravel(_code_of(layer.name))
        if owncode.is_own(layer):
            raise CannotTravel(_own_of(layer.name, owncode.called(layer), ""))
        for argument, value in _held(layer):
            if _is_code(argument, value):
                raise CannotTravel(_own_of(layer.name, f"{argument}={owncode.called(value)}", argument))


def _held(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a layer's arguments were, by their names, as far as it keeps them."""
    for argument in _arguments(type(layer)):
        yield argument, getattr(layer, argument, getattr(layer, f"_{argument}", None))


def _arguments(kind: type) -> tuple[str, ...]:
    """Return what a class of layers and those that it is made from may be given, by name."""
    made = [vars(one)["__init__"] for one in kind.__mro__ if one is not object and "__init__" in vars(one)]
    return tuple(dict.fromkeys(name for init in made for name in inspect.signature(init).parameters if name != "self"))


def _is_code(argument: str, value: Any) -> bool:
    if not callable(value) or isinstance(value, keras.layers.Layer) or not owncode.is_own(value):
        return False
    # TensorFlow's relu is Keras's; anyone else's function of that name may be anything.
    twin = argument.endswith("activation") and str(getattr(value, "__module__", "")).startswith(_TWINS)
    return not (twin and hasattr(keras.activations, getattr(value, "__name__", "")))


def _own_of(layer: str, what: str, argument: str) -> str:
    remedy = _REMEDIES.get(argument.rsplit("_", 1)[-1], "use a built-in, or build it of Keras's own layers")
    return f"The layer '{layer}' has {what}, which is not Keras's own, and no code travels: {remedy}."


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
    if name == "Lambda":
        raise CannotTravel(_code_of(layer))
    if isinstance(thing.get("config"), dict) and thing["config"].get("stateful"):
        raise CannotTravel(f"The layer '{layer}' is stateful, and jobs keep no state between batches: make it without.")
    if module is None:
        own = bool(thing.get("registered_name")) or name == "__lambda__"
    else:
        own = not (str(module) in {"keras", "builtins"} or str(module).startswith("keras."))
    if own:
        raise CannotTravel(_own_of(layer, str(thing.get("config")) if name == "function" else name, ""))


def _stripped(value: Any) -> Any:
    """Return a configuration without what is not needed to make the model again."""
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in _BESIDE}
    return value
