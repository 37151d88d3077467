"""The variables of a local model: taken to a checkpoint, and set from one."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fitq.errors import CannotTravel
from fitq.local.checkpoint import Contents, Variable

#: The progress of a checkpoint that no training has written: nothing done yet.
_NO_PROGRESS = {
    "position": {"step": 0, "epoch": 0, "step_in_epoch": 0},
    "rows": 0,
    "stop_training": False,
    "finished": False,
    "callbacks": [],
}


def captured(model: Any, *, optimizer: bool) -> Contents:
    """Return a model's weights and seeds, and its optimizer's variables if asked for."""
    groups = _groups(model)
    if not optimizer:
        groups["optimizer"] = []
    return Contents({name: [_taken(one) for one in held] for name, held in groups.items()}, _NO_PROGRESS)


def begins(model: Any) -> bool:
    """Whether training begins from more than weights: an optimizer that was used, or layers that draw numbers.

    The optimizer is built then, as `fit` does it: a worker takes both together.
    """
    if not (model.optimizer.built or _groups(model)["seeds"]):
        return False
    model.optimizer.build(model.trainable_variables)
    return True


def _groups(model: Any) -> dict[str, list[Any]]:
    weights = list(model.weights)
    known = {id(one) for one in weights}
    seeds = [one for one in model.variables if id(one) not in known]
    optimizer = getattr(model, "optimizer", None)
    return {"weights": weights, "seeds": seeds, "optimizer": list(optimizer.variables) if optimizer else []}


def _taken(variable: Any) -> Variable:
    value = np.array(variable.numpy())
    return Variable(variable.path, keras.backend.standardize_dtype(variable.dtype), value)


def restore(model: Any, contents: Contents) -> None:
    """Set a model to a checkpoint: weights, seeds, and the optimizer where the model is compiled.

    Nothing is set unless everything fits. Raise `CannotTravel` naming the first difference.
    """
    if not model.built:
        raise CannotTravel("The model is not built: call it on data once, or give it an Input.")
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and contents.groups["optimizer"]:
        optimizer.build(model.trainable_variables)
    groups = _groups(model)
    chosen = ["weights", "seeds", *(["optimizer"] if optimizer is not None and contents.groups["optimizer"] else [])]
    for name in chosen:
        _check(name, contents.groups[name], groups[name])
    for name in chosen:
        for saved, variable in zip(contents.groups[name], groups[name], strict=False):
            variable.assign(saved.value)
    for layer in model._flatten_layers():  # noqa: SLF001 - Keras's only way to the layers within layers
        if isinstance(layer, keras.layers.Normalization):
            # It computes with something that it derives from its variables.
            layer.finalize_state()


def _check(name: str, saved: Sequence[Variable], held: Sequence[Any]) -> None:
    # A job that drew from Keras's global generator has one seed more than the model.
    extra = 1 if name == "seeds" else 0
    if not len(held) <= len(saved) <= len(held) + extra:
        raise CannotTravel(f"The checkpoint has {len(saved)} {name} and the model has {len(held)}: another model?")
    for there, here in zip(saved, held, strict=False):
        if tuple(there.value.shape) != tuple(here.shape):
            raise CannotTravel(
                f"The checkpoint holds {there.path} with shape {there.value.shape} "
                f"where the model has {here.path} with {tuple(here.shape)}: another model?"
            )
