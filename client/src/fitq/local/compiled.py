"""How a local model is compiled, in the job spec's forms."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from fitq.errors import CannotTravel


def described(model: Any) -> dict[str, Any]:
    """Return the spec's `compile`. Raise `CannotTravel` for losses and metrics that are code of the caller's."""
    arguments = getattr(getattr(model, "_compile_config", None), "config", None)
    if not getattr(model, "compiled", False) or arguments is None:
        raise CannotTravel("The model is not compiled: call model.compile(optimizer, loss) first.")
    if arguments.get("loss") is None:
        raise CannotTravel("The model has no loss: a job needs compile(loss=…).")
    made = {
        "optimizer": _object(model.optimizer, "optimizer"),
        "loss": _said(arguments["loss"], "loss"),
        "metrics": _said(arguments.get("metrics"), "metrics"),
        "weighted_metrics": _said(arguments.get("weighted_metrics"), "weighted_metrics"),
        "loss_weights": _numbers(arguments.get("loss_weights")),
    }
    return {name: value for name, value in made.items() if value is not None}


def prepare(model: Any, x: Any, y: Any) -> None:
    """Let Keras make the metrics of a compiled model, as the first step would: `evaluate` follows their order."""
    predicted = model(x, training=False)
    model.compute_loss(x=x, y=y, y_pred=predicted, training=False)
    model.compute_metrics(x, y, predicted)
    model.reset_metrics()


def _said(value: Any, argument: str) -> Any:
    """Return losses or metrics in the structure in which they were given; Keras's functions by their names."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _said(item, argument) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_said(item, argument) for item in value]
    return _object(value, argument)


def _object(value: Any, argument: str) -> Any:
    """Return one optimizer, loss or metric of Keras's own as its configuration."""
    kind = value if inspect.isfunction(value) or inspect.isclass(value) else type(value)
    if not kind.__module__.startswith("keras."):
        name = getattr(kind, "__name__", "")
        raise CannotTravel(_own(argument, "a lambda" if name == "<lambda>" else f"'{name}'"))
    if inspect.isfunction(value):
        return value.__name__
    if inspect.isclass(value):
        value = value()
    made: dict[str, Any] = keras.saving.serialize_keras_object(value)
    # Keras leaves some arguments out of what it writes: Huber's delta, the axis of CosineSimilarity.
    known = inspect.signature(type(value).__init__).parameters
    for name, given in (getattr(value, "_fn_kwargs", None) or {}).items():
        if name in known:
            made["config"].setdefault(name, given)
    return made


def _own(argument: str, what: str) -> str:
    return (
        f"compile({argument}=…) has {what}, which is not Keras's own, and no code travels: "
        f"give a built-in one by name, such as {_EXAMPLES[argument]}."
    )


_EXAMPLES = {
    "optimizer": "'adam'",
    "loss": "'mse' or keras.losses.Huber()",
    "metrics": "'accuracy' or keras.metrics.AUC()",
    "weighted_metrics": "'accuracy' or keras.metrics.AUC()",
}


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): float(item) for key, item in value.items()}
    return None if value is None else [float(item) for item in value] if isinstance(value, (list, tuple)) else value
