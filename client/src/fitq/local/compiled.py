"""How a local model is compiled, in the job spec's forms."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from fitq.errors import CannotTravel
from fitq.local import owncode


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
    if owncode.is_own(value):
        raise CannotTravel(_own(argument, owncode.called(value)))
    if inspect.isfunction(value):
        return value.__name__
    if inspect.isclass(value):
        value = value()
    _check_functions(value, argument)
    made: dict[str, Any] = keras.saving.serialize_keras_object(value)
    # Keras leaves some arguments out of what it writes: Huber's delta, the axis of CosineSimilarity.
    known = inspect.signature(type(value).__init__).parameters
    for name, given in (getattr(value, "_fn_kwargs", None) or {}).items():
        if name in known:
            made["config"].setdefault(name, given)
    return made


def _check_functions(value: Any, argument: str) -> None:
    """Refuse an object of Keras's own with a function or a schedule of the caller's in it."""
    if argument == "optimizer":
        _check_rate(value)
        return
    # The wrappers of a loss and of a metric: a subclass of theirs holds a function of Keras's own.
    for held in (getattr(value, name, None) for name in ("fn", "_fn")):
        if callable(held) and owncode.is_own(held):
            raise CannotTravel(_own(argument, owncode.called(held)))


def _check_rate(optimizer: Any) -> None:
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        _check_rate(inner)
        return
    rate = getattr(optimizer, "_learning_rate", None)
    if callable(rate) and owncode.is_own(rate):
        raise CannotTravel(
            f"The optimizer {type(optimizer).__name__}(learning_rate=…) has {owncode.called(rate)}, which is not "
            "Keras's own, and no code travels: use a built-in schedule of keras.optimizers.schedules, or give a number "
            "and the callback LearningRateScheduler, whose function travels as a table of rates."
        )


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
