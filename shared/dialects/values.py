"""Values that older Keras versions wrote in another form: tuples, arrays, shapes, data types. Pure."""

from typing import Any

#: How a value is wrapped: the wrapper's entry that names it, its names, and the entry that holds the value.
_ITEMS = frozenset({"__tuple__", "TensorShape", "__list__"})
_ARRAYS = frozenset({"ndarray", "__ndarray__"})


def unwrapped(value: Any) -> Any:
    """Return the value with tuples, shapes and arrays as lists, all the way down."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in _ITEMS and isinstance(value.get("items"), list):
        return unwrapped(value["items"])
    if str(value.get("type")) in _ARRAYS and "value" in value:
        return unwrapped(value["value"])
    return {key: unwrapped(item) for key, item in value.items()}


#: Python's and NumPy's names of data types, which Keras 1 and 2 took too.
_DTYPES = {"float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64"}


def dtype(value: Any) -> Any:
    """Return a data type or policy by the name that Keras 3 has for it, where it is known."""
    if not isinstance(value, dict):
        return _DTYPES.get(value, value) if isinstance(value, str) else value
    config = value.get("config")
    if value.get("class_name") in {"Policy", "PolicyV1", "DTypePolicy", "FloatDTypePolicy"} and isinstance(
        config, dict
    ):
        # TensorFlow 2.0 and 2.1 had a policy of whatever comes in.
        name = config.get("name")
        return None if name in {"infer", "_infer"} else name
    return value


def shape(value: Any) -> list[Any] | None:
    """Return a shape as a list of sizes, or None when it is none. -1 is an unknown size."""
    if not isinstance(value, list) or not all(item is None or type(item) in (int, float) for item in value):
        return None
    return [None if item is None or item == -1 else int(item) for item in value]
