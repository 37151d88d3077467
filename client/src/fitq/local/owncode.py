"""Whether a function or an object is the caller's own code, and what a refusal calls it. Pure."""

import inspect
from typing import Any


def is_own(value: Any) -> bool:
    """Whether a function, a class, or an object's class is none of Keras's own."""
    named = inspect.isroutine(value) or inspect.isclass(value)
    module = getattr(value if named else type(value), "__module__", None) or ""
    return not module.startswith("keras.")


def called(value: Any) -> str:
    """Return the name of a function, of a class, or of an object's class."""
    name = str(getattr(value, "__name__", type(value).__name__))
    return "a lambda" if name == "<lambda>" else f"'{name}'"
