"""How the layers of a Functional model are connected: from nested lists to the nodes of Keras 3. Pure.

Keras 1 and 2 wrote for each call of a layer a list of tensors, `[layer, node, result, arguments]`; the arguments may
hold tensors too. Keras 3 writes the call's `args` and `kwargs`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.allowlist.catalog import CALL_ARGUMENTS
from shared.dialects.subgraphs import tensor

#: Layers with a state.
RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})
#: Layers that older versions gave their initial state as further inputs.
_STATES = RECURRENT | {"Bidirectional"}
_CONSTANT = "_CONSTANT_VALUE"


def is_tensor(value: Any) -> bool:
    """Return whether a value is `[layer, node, result]`, with or without arguments."""
    match value:
        case [str(), int(), int()] | [str(), int(), int(), dict()]:
            return True
        case [str(name), int(), _] | [str(name), int(), _, dict()]:
            return name == _CONSTANT
        case _:
            return False


@dataclass
class Call:
    """One call of a layer."""

    args: list[Any]
    kwargs: dict[str, Any]


@dataclass
class Wiring:
    """The connections of one model. `names` gives layers' new names; `first` their first node, as it was written."""

    names: Mapping[str, str]
    first: Mapping[str, int]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def call(self, node: Any) -> Call:
        """Return the call that a node of any version describes."""
        if isinstance(node, dict) and set(node) == {"args", "kwargs"}:
            return Call(self._renamed(node["args"]), self._renamed(node["kwargs"]))
        self.kwargs = {}
        inputs = self._value(node)
        if isinstance(node, list) and not is_tensor(node) and len(node) == 1:
            inputs = inputs[0]
        kwargs = {key: self._argument(value) for key, value in self.kwargs.items()}
        return Call([inputs], kwargs)

    def _value(self, value: Any) -> Any:
        if is_tensor(value):
            self.kwargs.update(value[3] if len(value) > 3 else {})  # noqa: PLR2004 - the arguments stand fourth
            return value[2] if value[0] == _CONSTANT else self.tensor(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        return value

    def _argument(self, value: Any) -> Any:
        """Return an argument of a call, in which a list may be a tensor."""
        if is_tensor(value) and value[0] in self.names:
            return self.tensor(value)
        if isinstance(value, list):
            return [self._argument(item) for item in value]
        if isinstance(value, dict):
            return {key: self._argument(item) for key, item in value.items()}
        return value

    def tensor(self, value: list[Any]) -> dict[str, Any]:
        """Return a tensor, its layer and node renamed."""
        name, node, result = value[:3]
        return tensor(self.names.get(name, name), max(node - self.first.get(name, 0), 0), result)

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        history = value.get("keras_history")
        if isinstance(history, list) and history and isinstance(history[0], str):
            return {**value, "keras_history": [self.names.get(history[0], history[0]), *history[1:]]}
        return {key: self._renamed(item) for key, item in value.items()}

    def ends(self, value: Any, nested: Callable[[str], bool]) -> Any:
        """Return a model's inputs or outputs; a single one stands alone. `nested` tells Functional layers by name."""
        if is_tensor(value):
            name, node, result = value[:3]
            number = max(node - self.first.get(name, 0), 0) + nested(name)
            return [self.names.get(name, name), number, result]
        if isinstance(value, list):
            found = [self.ends(item, nested) for item in value]
            return found[0] if len(found) == 1 else found
        if isinstance(value, dict):
            return {key: self.ends(item, nested) for key, item in value.items()}
        return value


def firsts(members: Mapping[str, tuple[bool, int]], values: Any) -> dict[str, int]:
    """Return the number of each layer's first node: 1 where Keras counted a model's own node, or kept a lost one.

    `members` tells of each layer whether it is a model and how often it is called; `values` holds every tensor.
    """
    seen: dict[str, set[int]] = {}
    _collect(values, seen)
    found = {}
    for name, numbers in seen.items():
        model, calls = members.get(name, (False, 0))
        if model and min(numbers) > 0:
            found[name] = 1
        elif calls and max(numbers) >= calls:
            found[name] = min(max(numbers) - calls + 1, *numbers)
    return found


def _collect(value: Any, seen: dict[str, set[int]]) -> None:
    if is_tensor(value):
        seen.setdefault(value[0], set()).add(value[1])
        value = value[3] if len(value) > 3 else None  # noqa: PLR2004 - the arguments stand fourth
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _collect(item, seen)


def adapted(class_name: Any, call: Call) -> Call:
    """Return the call as the layer takes it in Keras 3: states by name, nothing that is null or no longer known."""
    first = call.args[0] if call.args else None
    if class_name in _STATES and isinstance(first, list) and len(first) > 1:
        call = Call([first[0], *call.args[1:]], {**call.kwargs, "initial_state": first[1:]})
    kwargs = {
        key: bool(value) if key == "training" and value in (0, 1) else value
        for key, value in call.kwargs.items()
        if not _is_null(value) and (key in CALL_ARGUMENTS or value not in (False, "", [], {}))
    }
    return Call(call.args, kwargs)


def _is_null(value: Any) -> bool:
    """Return whether a value is null, or one null for each tensor: masks that are none."""
    return value is None or (isinstance(value, list) and value != [] and all(item is None for item in value))
