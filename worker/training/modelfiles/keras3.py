"""The weights that Keras 3 saves (`model.weights.h5` of a `.keras`, `save_weights("….weights.h5")`).

Each layer's variables stand under `<path>/vars/0`, `1` and on. The path goes down from the model: the layers of a
Sequential or Functional model under `layers/<class_name>`, `layers/<class_name>_1` and on (by class, not by name), the
layers that another layer holds under the name of its attribute. Which variables a layer saves, it says itself.
"""

import re
from collections.abc import Iterator
from typing import Any

import keras

from shared.errors import BadData
from worker.training.modelfiles import stored
from worker.training.modelfiles.hdf5 import Tree
from worker.training.modelfiles.stored import Stored

#: What keras 2.13 calls the folder of layers.
_OLD_FOLDER = "_layer_checkpoint_dependencies"
_FOLDERS = ("layers/", f"{_OLD_FOLDER}/")
_SEEDS = "/seed_generator/vars/"


def places(model: Any, root: Tree | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each layer of a model once, the model first, with the path under which Keras 3 keeps its variables.

    A layer that stands under two attributes (`_key_dense`, and since Keras 3.5 `key_dense`) is yielded with the path
    that the file `root` has.
    """
    yield from _walk(model, "", set(), root)


def _walk(layer: Any, path: str, seen: set[int], root: Tree | None) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    held = {"layers": layer.layers} if isinstance(layer, keras.Model) else _held(layer)
    # Public attributes come first: so does Keras, which keeps a layer of two names under the first.
    for name in sorted(held, key=lambda name: f"~{name}" if name.startswith("_") else name):
        inner, there = held[name], _joined(path, name)
        if not isinstance(inner, keras.Layer):
            yield from _walk_all(inner, there, seen, root)
        elif root is None or root.group(there) is not None or not _again(held, name, path, root):
            yield from _walk(inner, there, seen, root)


def _again(held: dict[str, Any], name: str, path: str, root: Tree) -> bool:
    """Whether the file has a layer under another attribute of its owner."""
    others = (other for other, value in held.items() if value is held[name] and other != name)
    return any(root.group(_joined(path, other)) is not None for other in others)


def _held(layer: Any) -> dict[str, Any]:
    """Return the layers that another holds, and its lists of layers, by attribute."""
    base = keras.Layer()
    kind = type(layer)
    names = [name for name in vars(layer) if name not in vars(base)]
    names += [name for name in dir(kind) if isinstance(getattr(kind, name), property) and not hasattr(base, name)]
    values = {name: getattr(layer, name, None) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, (keras.Layer, list, tuple, dict))}


def _walk_all(held: Any, path: str, seen: set[int], root: Tree | None) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for item in list(held.values()) if isinstance(held, dict) else list(held):
        if isinstance(item, keras.Layer):
            name = _numbered(_snake(type(item).__name__), counts)
            yield from _walk(item, _joined(path, name), seen, root)
        elif isinstance(item, (list, tuple, dict)):
            yield from _walk_all(item, _joined(path, _numbered("container", counts)), seen, root)


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _numbered(name: str, counts: dict[str, int]) -> str:
    counts[name] = counts.get(name, -1) + 1
    return f"{name}_{counts[name]}" if counts[name] else name


def _snake(name: str) -> str:
    """Return a class's name as Keras writes it in paths: `LayerNormalization` is `layer_normalization`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


#: A layer, and its arrays by the names that it gives them.
Found = list[tuple[Any, dict[str, Stored]]]


def check(model: Any, root: Tree) -> Found:
    """Find every layer's variables in a file. Nothing is read.

    Raise `BadData` naming the layer when the file lacks one, has another shape for it, or holds others besides.
    """
    found = [(layer, _found(layer, root, path)) for path, layer in _places(model, root)]
    known = {one.path for _, group in found for one in group.values()}
    others = [path for path in root.arrays() if path.startswith(_FOLDERS) and _SEEDS not in path and path not in known]
    if others:
        raise BadData(f"{root.label} holds '{min(others)}', for which the model has no layer: it is another model's.")
    return found


def _places(model: Any, root: Tree) -> list[tuple[str, Any]]:
    old = root.group(_OLD_FOLDER) is not None
    return [(re.sub(r"\blayers\b", _OLD_FOLDER, path) if old else path, layer) for path, layer in places(model, root)]


def _found(layer: Any, root: Tree, path: str) -> dict[str, Stored]:
    wanted = _own(layer)
    group = root.group(_joined(path, "vars")) if wanted else None
    found = {}
    for key, variable in wanted.items():
        one = group.array(key) if group is not None else None
        owner = f"{getattr(variable, 'name', 'an array')} of layer '{layer.name}' ({type(layer).__name__})"
        if one is None:
            raise BadData(f"{root.label} has no array '{_joined(path, 'vars')}/{key}', which is to be {owner}.")
        stored.check_fits(one, variable, owner)
        found[key] = one
    if group is not None and len(group.names()) > len(wanted):
        have = f"{root.label} has {len(group.names())} arrays in '{group.path}'"
        raise BadData(f"{have}; layer '{layer.name}' ({type(layer).__name__}) has {len(wanted)}.")
    return found


def _own(layer: Any) -> dict[str, Any]:
    """Return what a layer saves of its own, not of the layers in it, by name."""
    wanted: dict[str, Any] = {}
    layer.save_own_variables(wanted)
    return wanted


def load(model: Any, root: Tree) -> None:
    """Give a model the weights of a file. Raise `BadData` before anything has changed."""
    for layer, found in check(model, root):
        if found:
            wanted = _own(layer)
            layer.load_own_variables({key: stored.value(one, wanted[key]) for key, one in found.items()})


def optimizer(root: Tree) -> list[Stored] | None:
    """Return the optimizer's variables in its own order, or None when the file has none."""
    group = root.group("optimizer/vars")
    if group is None:
        return None
    found = [group.array(str(index)) for index in range(len(group.names()))]
    if None in found:
        raise BadData(f"{root.label}: the arrays of '{group.path}' must be numbered from 0.")
    return [one for one in found if one is not None]


def seeds(model: Any, root: Tree) -> list[tuple[Any, Stored]]:
    """Return the state of random numbers that early versions of Keras 3 saved with some layers."""
    found = []
    for path, layer in _places(model, root):
        generator = getattr(layer, "seed_generator", None)
        one = root.array(f"{path}{_SEEDS}0") if generator is not None and path else None
        if generator is not None and one is not None:
            stored.check_fits(one, generator.state, f"the random state of layer '{layer.name}'")
            found.append((generator.state, one))
    return found


def finalize(model: Any) -> None:
    """Let each layer that computes with something derived from its weights derive it anew."""
    for _, layer in places(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
