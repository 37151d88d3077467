"""Whatever Keras takes for an array, as NumPy arrays that can travel."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fitq.errors import CannotTravel

#: One array, a list of them or a dictionary of them by the names of inputs or outputs.
Arrays = np.ndarray | list[np.ndarray] | dict[str, np.ndarray]


def taken(value: Any, argument: str) -> Arrays:
    """Return an argument's arrays: floats as float32, as Keras's `fit` makes them. Raise `CannotTravel`."""
    if isinstance(value, Mapping):
        return {str(name): _array(one, f"{argument}[{name!r}]") for name, one in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and value and all(_is_array(one) for one in value)):
        several = [_array(one, f"{argument}[{index}]") for index, one in enumerate(value)]
        return several[0] if len(several) == 1 else several
    return _array(value, argument)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0


def _array(value: Any, argument: str) -> np.ndarray:
    array = _numpy(value, argument)
    if array.dtype.kind not in "biuf":
        raise CannotTravel(f"{argument} holds {array.dtype}, not numbers: encode it as numbers first.")
    if array.ndim == 0:
        raise CannotTravel(f"{argument} is a single number: the first axis of an array counts the samples.")
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array


def _numpy(value: Any, argument: str) -> np.ndarray:
    kind = type(value).__name__
    if kind in {"RaggedTensor", "SparseTensor"}:
        raise CannotTravel(f"{argument} is a {kind}: only dense arrays travel; make it dense first.")
    if hasattr(value, "to_numpy"):
        # pandas; of a Series Keras makes a column, too.
        array = np.asarray(value.to_numpy())
        return array.reshape(-1, 1) if kind == "Series" else array
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise CannotTravel(f"{argument} is no regular array of numbers: {error}.") from error
    return array.astype(np.float32) if array.dtype.isbuiltin != 1 and "float" in array.dtype.name else array


def leaves(arrays: Arrays | None) -> list[np.ndarray]:
    """Return the arrays one by one."""
    if arrays is None:
        return []
    if isinstance(arrays, dict):
        return list(arrays.values())
    return list(arrays) if isinstance(arrays, list) else [arrays]


def mapped(change: Callable[[np.ndarray], Any], arrays: Arrays) -> Any:
    """Return the same structure with each array changed."""
    if isinstance(arrays, dict):
        return {name: change(one) for name, one in arrays.items()}
    return [change(one) for one in arrays] if isinstance(arrays, list) else change(arrays)


def joined(parts: list[Arrays]) -> Arrays:
    """Return the batches' arrays one behind the other. Raise ValueError when their samples differ in shape."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}  # type: ignore[call-overload]
    if isinstance(first, list):
        return [np.concatenate([part[index] for part in parts]) for index in range(len(first))]  # type: ignore[index]
    return np.concatenate(parts)  # type: ignore[arg-type]


def size(*several: Arrays | None) -> int:
    """Return bytes."""
    return sum(one.nbytes for arrays in several for one in leaves(arrays))
