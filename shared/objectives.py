"""What a model of one or several outputs is compiled with: one loss and some metrics, or these for each output. Pure.

Keras's own forms: one loss, a list of them, or an object with one for each output's name; a list of metrics, a list of
such lists, or an object of them. Where an object could be both a loss and an object of losses, it is the loss.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from shared.allowlist.lookup import find

#: Outputs of a model that are compiled for, and metrics of one output, at most.
OUTPUTS_MOST = 64
#: Characters of an output's name, at most.
_NAME_MOST = 100

Made = TypeVar("Made")
#: Makes something of what a spec says of one loss or metric, and of the JSON pointer where it stands.
Make = Callable[[Any, str], Made]


def losses(value: Any, make: Make[Made]) -> Any:
    """Return what `make` makes of each loss, in the spec's own form; null stays null."""
    if isinstance(value, list):
        _few(value)
        return [None if one is None else make(one, f"/{index}") for index, one in enumerate(value)]
    if _by_output(value):
        _few(value)
        return {name: None if one is None else make(one, f"/{_escaped(name)}") for name, one in value.items()}
    return None if value is None else make(value, "")


def metrics(value: Any, make: Make[Made]) -> Any:
    """Return what `make` makes of each metric, in the spec's own form; null stays null."""
    _few(value)
    if isinstance(value, dict):
        return {name: _some(one, f"/{_escaped(name)}", make) for name, one in value.items()}
    return [_some(one, f"/{index}", make) for index, one in enumerate(value)]


def _some(value: Any, pointer: str, make: Make[Made]) -> Any:
    if isinstance(value, list):
        _few(value)
        return [make(one, f"{pointer}/{index}") for index, one in enumerate(value)]
    return None if value is None else make(value, pointer)


def _by_output(value: Any) -> bool:
    """Whether an object holds a loss for each output, and is no loss itself."""
    if not isinstance(value, dict) or "class_name" in value or not value:
        return False
    return len(value) > 1 or all(one is None or isinstance(one, str) or _is_loss(one) for one in value.values())


def _is_loss(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return "class_name" in value or (len(value) == 1 and find("losses", str(next(iter(value)))) is not None)


def _few(value: Any) -> None:
    if len(value) > OUTPUTS_MOST:
        raise PydanticCustomError("many", "at most {most} may stand here", {"most": OUTPUTS_MOST})
    if isinstance(value, dict) and any(not 0 < len(name) <= _NAME_MOST for name in value):
        raise PydanticCustomError("name", "an output's name has 1 to {most} characters", {"most": _NAME_MOST})


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
