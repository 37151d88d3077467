"""The weights that Keras 2 saves in TensorFlow's format: objects of a graph, by the names of Keras 2's attributes.

A model's layers with weights are matched by their order, as Keras 2 does: `layer_with_weights-0` and on. What a layer
holds is matched by name. The optimizer, where the model was compiled, is another object of the same graph.
"""

from typing import Any

import keras

from shared.errors import BadData
from worker.training.modelfiles import keras2_names, optimizers, stored
from worker.training.modelfiles.bundles import Bundle, Graph
from worker.training.modelfiles.optimizers import Slots
from worker.training.modelfiles.stored import Stored

_ROOT = 0
_COUNTED = "layer_with_weights-"
#: What is in the name of an array that is no weight: an optimizer's, and Keras 2's random numbers.
_BESIDES = ("/.OPTIMIZER_SLOT/", "/_random_generator/", "/_rng/")
_ITERATIONS, _RATE = ("iter", "_iterations"), ("learning_rate", "_learning_rate")


def check(model: Any, bundle: Bundle) -> list[tuple[Any, Stored]]:
    """Find every variable of a model. Nothing is read.

    Raise `BadData` naming the variable when the checkpoint lacks it, has another shape for it, or holds more layers.
    """
    base = _base(bundle)
    _check_count(model, bundle, base)
    nodes = _nodes(model, bundle.graph, base)
    found = []
    for variable in model.weights:
        one = _array(bundle, nodes.get(id(variable)))
        if one is None:
            raise BadData(f"{bundle.label} has no array for the model's '{variable.path}': it is another model's.")
        stored.check_fits(one, variable, f"the model's '{variable.path}'")
        found.append((variable, one))
    known = {one.path for _, one in found}
    others = [name for name in bundle.names if _COUNTED in name and name not in known and not _is_besides(name)]
    if others:
        raise BadData(f"{bundle.label} holds '{min(others)}', for which the model has no place: it is another model's.")
    return found


def load(model: Any, bundle: Bundle) -> None:
    """Give a model the weights of a checkpoint. Raise `BadData` before anything has changed."""
    stored.assign(check(model, bundle))


def slots(model: Any, bundle: Bundle) -> Slots | None:
    """Return the state of Keras 2's optimizer, None when there is none. Raise `BadSpec` for one that is not known."""
    base = _base(bundle)
    graph = bundle.graph
    optimizer = graph.children(_ROOT).get("optimizer", graph.children(base).get("optimizer"))
    if optimizer is None:
        return None
    own = graph.children(optimizer)
    iterations, rate = (
        next((_array(bundle, own[name]) for name in names if name in own), None) for names in (_ITERATIONS, _RATE)
    )
    read = _listed(bundle, own["_variables"]) if "_variables" in own else _old(model, bundle, base, optimizer)
    return Slots(bundle.label, iterations, rate, read)


def _base(bundle: Bundle) -> int:
    """Return the object that is the model: the root, or what `tf.train.Checkpoint(model=model)` has below it."""
    root = bundle.graph.children(_ROOT)
    base = root.get("model", _ROOT)
    if not any(name.startswith("layer-") for name in bundle.graph.children(base)):
        raise BadData(
            f"{bundle.label} holds no layers in order, but {', '.join(map(repr, sorted(root)[:6])) or 'nothing'}: only "
            "the weights of a Sequential or Functional model are read from a TensorFlow checkpoint."
        )
    return base


def _check_count(model: Any, bundle: Bundle, base: int) -> None:
    there = sum(1 for name in bundle.graph.children(base) if name.startswith(_COUNTED))
    wanted = sum(1 for layer in model.layers if layer.weights)
    if there != wanted:
        raise BadData(f"{bundle.label} has weights of {there} layers, the model has {wanted} layers with weights.")


def _nodes(model: Any, graph: Graph, base: int) -> dict[int, int]:
    """Return which object of the graph is which variable of the model, the latter by its identity."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(model, base)]
    while waiting:
        held, node = waiting.pop()
        if isinstance(held, keras.Variable):
            found[id(held)] = node
            continue
        if id(held) in seen:
            continue
        seen.add(id(held))
        listed = isinstance(held, (list, tuple))
        parts = ((str(index), one) for index, one in enumerate(held)) if listed else keras2_names.parts(held)
        children = graph.children(node)
        waiting += [(one, children[name]) for name, one in parts if name in children]
    return found


def _array(bundle: Bundle, node: int | None) -> Stored | None:
    value = None if node is None else bundle.graph.value(node)
    return None if value is None else bundle.array(value[0])


def _is_besides(name: str) -> bool:
    return any(part in name for part in _BESIDES)


def _listed(bundle: Bundle, variables: int) -> dict[str, list[Stored]]:
    """Return the slots of an optimizer of Keras 2.11 and later: all its variables, named `Adam/m/dense/kernel`."""
    found: dict[str, list[Stored]] = {}
    numbered = bundle.graph.children(variables)
    for index in range(len(numbered)):
        value = bundle.graph.value(numbered.get(str(index), -1))
        if value is None:
            raise BadData(f"{bundle.label}: the optimizer's variables must be numbered from 0.")
        key, name = value
        slot = optimizers.slot_of(name)
        if slot is not None:
            found.setdefault(slot, []).append(bundle.array(key))
        elif name not in {"iteration", "learning_rate"}:
            raise optimizers.refused(f"{bundle.label} does not say what the optimizer's '{name[-100:]}' is.")
    return found


def _old(model: Any, bundle: Bundle, base: int, optimizer: int) -> dict[str, list[Stored]]:
    """Return the slots of an older optimizer, each tied to the variable that it is kept for."""
    there: dict[str, dict[int, int]] = {}
    for variable, slot, kept in bundle.graph.slots(optimizer):
        there.setdefault(slot, {})[variable] = kept
    nodes = _nodes(model, bundle.graph, base)
    found = {}
    for slot, by_variable in there.items():
        arrays = [_array(bundle, by_variable.get(nodes.get(id(one), -1))) for one in model.trainable_variables]
        found[slot] = [one for one in arrays if one is not None]
    return found
