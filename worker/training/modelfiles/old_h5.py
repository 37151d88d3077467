"""The HDF5 files of Keras 1 and 2, and Keras 3's `.h5`: layers in order, each with the names of its weights.

Layers are matched by their order, not by their names, as Keras does. A whole model has its architecture and its
compile configuration in two attributes of the file, its weights under `model_weights`.
"""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from shared.errors import BadData
from worker.training.modelfiles import conversions, optimizers, stored
from worker.training.modelfiles.conversions import Writer
from worker.training.modelfiles.hdf5 import Group
from worker.training.modelfiles.optimizers import Slots
from worker.training.modelfiles.stored import Stored

CONFIG, COMPILED, WEIGHTS = "model_config", "training_config", "model_weights"
#: How many numbers more than Keras 3's an old form of a layer has, at most: CuDNN's has two biases.
_SLACK = 2
_ITERATIONS = ("iter:0", "iteration:0", "iterations:0")


def is_whole(root: Group) -> bool:
    """Whether the file holds a whole model."""
    return root.text(CONFIG) is not None


def is_ours(root: Group) -> bool:
    """Whether the file has this form at all, with a model or with its weights alone."""
    return root.group(WEIGHTS) is not None or root.texts("layer_names") is not None


def is_old(root: Group) -> bool:
    """Whether Keras 1 or 2 wrote the file."""
    return _version(root) in {"0", "1", "2"}


def _version(root: Group) -> str:
    group = root.group(WEIGHTS) or root
    # Keras 1 did not say.
    return (group.text("keras_version") or root.text("keras_version") or "1").partition(".")[0]


def _layers(model: Any) -> Iterator[tuple[Any, list[Any]]]:
    for layer in model.layers:
        weights = list(layer.trainable_weights) + list(layer.non_trainable_weights)
        if weights:
            yield layer, weights


def _branches(model: Any, names: list[str]) -> list[tuple[Any, list[Any]]]:
    """Return all layers, those of models in the model too, as Keras 1 saved merged branches: by their names."""
    inner = {layer.name: (layer, weights) for layer, weights in _flat(model)}
    return [inner[name] for name in names] if sorted(inner) == sorted(names) else []


def _flat(model: Any) -> Iterator[tuple[Any, list[Any]]]:
    for layer, weights in _layers(model):
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer, weights


def _saved(group: Group) -> Iterator[tuple[str, list[Stored]]]:
    for name in group.texts("layer_names") or []:
        layer = group.group(name)
        if layer is None:
            raise BadData(f"{group.label} names a layer '{name[:100]}' and has no group of that name.")
        arrays = []
        for weight in layer.texts("weight_names") or []:
            array = layer.array(weight)
            if array is None:
                raise BadData(f"{group.label} names a weight '{weight[:100]}' of layer '{name[:100]}' and has it not.")
            arrays.append(array)
        if arrays:
            yield name, arrays


def check(model: Any, root: Group) -> list[tuple[Any, list[Any], list[Stored]]]:
    """Match the file's layers with the model's; nothing is read. Raise `BadData` where their number differs."""
    group = root.group(WEIGHTS) or root
    wanted, found = list(_layers(model)), list(_saved(group))
    if len(wanted) != len(found):
        wanted = _branches(model, [name for name, _ in found]) or wanted
    if len(wanted) != len(found):
        names = [f"'{layer.name}'" for layer, _ in wanted] if len(wanted) > len(found) else [f"'{n}'" for n, _ in found]
        extra = names[min(len(wanted), len(found))]
        raise BadData(
            f"{root.label} has weights of {len(found)} layers, the model has {len(wanted)} layers with weights; "
            f"{extra} is the first without a partner."
        )
    matched = []
    for (layer, weights), (name, arrays) in zip(wanted, found, strict=True):
        _check_size(root.label, layer, weights, name, arrays)
        matched.append((layer, weights, arrays))
    return matched


def _check_size(label: str, layer: Any, weights: list[Any], name: str, arrays: list[Stored]) -> None:
    if sum(math.prod(one.shape) for one in arrays) <= _SLACK * sum(math.prod(v.shape) for v in weights):
        return
    have = ", ".join(stored.shown(one.shape) for one in arrays[:6])
    want = ", ".join(stored.shown(tuple(v.shape)) for v in weights[:6])
    raise BadData(f"{label}: the weights of layer '{name}' have shapes {have}; those of '{layer.name}' have {want}.")


def load(model: Any, root: Group) -> None:
    """Give a model the weights of a file. Raise `BadData` naming the layer and both shapes where they do not fit."""
    group = root.group(WEIGHTS) or root
    by = Writer(keras1=_version(root) in {"0", "1"}, theano=group.text("backend") == "theano")
    ready = [
        (weights, _converted(layer, weights, arrays, by, root.label)) for layer, weights, arrays in check(model, root)
    ]
    for weights, arrays in ready:
        for variable, value in zip(weights, arrays, strict=True):
            variable.assign(value.astype(stored.dtype_of(variable), copy=False))


def _converted(layer: Any, weights: list[Any], arrays: list[Stored], by: Writer, label: str) -> list[np.ndarray]:
    try:
        made = conversions.converted(layer, [one.read() for one in arrays], by)
    except (ValueError, IndexError) as error:
        have = ", ".join(stored.shown(one.shape) for one in arrays)
        raise BadData(f"{label}: the weights of layer '{layer.name}' have odd shapes: {have}.") from error
    if len(made) != len(weights):
        raise BadData(f"{label} has {len(made)} weights for layer '{layer.name}'; it has {len(weights)}.")
    for index, (value, variable) in enumerate(zip(made, weights, strict=True)):
        path = arrays[index].path if len(arrays) == len(made) else f"weight {index}"
        owner = f"{variable.name} of layer '{layer.name}' ({type(layer).__name__})"
        stored.check_fits(Stored(label, path, value.shape, value.dtype, value.copy), variable, owner)
    return made


def flat_optimizer(root: Group) -> list[Stored] | None:
    """Return the optimizer's variables in the file's order, None when there are none."""
    group = root.group("optimizer_weights")
    if group is None:
        return None
    found = [group.array(name) for name in group.texts("weight_names") or []]
    if not found or None in found:
        raise BadData(f"{root.label}: 'optimizer_weights' does not hold what its names say.")
    return [one for one in found if one is not None]


def slots(root: Group) -> Slots | None:
    """Return the state of an optimizer of Keras 2, None when the file has none. Raise `BadSpec` for an unnamed one."""
    arrays = flat_optimizer(root)
    if arrays is None:
        return None
    iterations, found = None, dict[str, list[Stored]]()
    for array in arrays:
        name = array.path.removeprefix("optimizer_weights/")
        if name.rpartition("/")[2] in _ITERATIONS:
            iterations = array
            continue
        slot = optimizers.slot_of(name)
        if slot is None:
            raise optimizers.refused(f"{root.label} does not say what the optimizer's '{array.path[-100:]}' is.")
        found.setdefault(slot, []).append(array)
    return Slots(root.label, iterations, None, found)
