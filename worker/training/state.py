"""Python objects' state as JSON and arrays: what a checkpoint keeps of Keras's callbacks."""

from typing import Any

import numpy as np
import tensorflow as tf

Arrays = dict[str, np.ndarray]

#: Attributes that a callback is given or derives anew. `min_delta` changes its sign when `monitor_op` is
#: first derived: restored, it would change it twice.
_DERIVED = frozenset({"model", "_model", "params", "monitor_op", "min_delta"})


class _NotStateError(Exception):
    """The value is no number, text or array, nor made of them."""


def capture(thing: Any, arrays: Arrays, prefix: str) -> dict[str, Any]:
    """Return the state of an object's attributes as JSON; arrays go to `arrays` under names with `prefix`.

    What the object's class names in `not_state` is left out: what its constructor was given, once more.
    """
    state = {}
    left_out = _DERIVED | getattr(type(thing), "not_state", frozenset())
    for name, value in vars(thing).items():
        if name in left_out:
            continue
        try:
            state[name] = _encode(value, arrays, f"{prefix}.{name}")
        except _NotStateError:
            continue
    return state


def restore(thing: Any, state: dict[str, Any], arrays: Any) -> None:
    """Set an object's attributes to a captured state."""
    for name, value in state.items():
        setattr(thing, name, _decode(value, arrays))


def _encode(value: Any, arrays: Arrays, name: str) -> Any:
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufV":
        arrays[name], dtype = raw(np.asarray(value))
        return {"array": name, "dtype": dtype, "scalar": isinstance(value, np.generic)}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_encode(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]}
    if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
        return {"dict": [[key, _encode(item, arrays, f"{name}.{i}")] for i, (key, item) in enumerate(value.items())]}
    raise _NotStateError


def _decode(value: Any, arrays: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = cooked(arrays[value["array"]], value["dtype"])
        return array[()] if value["scalar"] else array
    if "dict" in value:
        return {key: _decode(item, arrays) for key, item in value["dict"]}
    (kind, items), *_ = value.items()
    decoded = [_decode(item, arrays) for item in items]
    return tuple(decoded) if kind == "tuple" else decoded


def raw(array: np.ndarray) -> tuple[np.ndarray, str]:
    """Return an array as `.npy` can hold it, and its dtype's name: types that NumPy lacks (bfloat16) as integers."""
    name = array.dtype.name
    native = array.dtype.isbuiltin == 1
    return np.ascontiguousarray(array).reshape(array.shape) if native else array.view(f"u{array.dtype.itemsize}"), name


def cooked(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return what `raw` was given."""
    return array if array.dtype.name == dtype else array.view(numpy_dtype(dtype))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of that name, ml_dtypes' included."""
    found: np.dtype[Any] = np.dtype(tf.as_dtype(name).as_numpy_dtype)
    return found
