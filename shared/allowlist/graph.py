"""How the layers of a Functional model are connected: the check of its nodes, inputs and outputs. Pure.

Keras writes, for each layer, one node for each time that it is called; a node holds the call's arguments, in which a
tensor is named by its history: the layer that made it, which of that layer's nodes, which of the node's results.
"""

from dataclasses import dataclass, field
from typing import Any

from shared.allowlist.arguments import DTYPES, NAME
from shared.allowlist.catalog import CALL_ARGUMENTS
from shared.allowlist.forms import Wrong
from shared.allowlist.values import Many, Value, Whole, Word, maybe, shown
from shared.jsontext import escaped

#: The most results of one call of a layer.
_RESULTS_MOST = 1_000
#: Sizes of an inner tensor: Flatten and its like multiply them, and nothing is allocated by them.
_SIZES = Many(maybe(Whole(0, 2**53)), 16, 0)
_RESULT = Whole(0, _RESULTS_MOST)
_DTYPE = Word(DTYPES)
_BOUND = maybe(Whole(-(2**31), 2**31))
#: What an operation may be given by name.
OPERANDS = frozenset({"x", "x1", "x2", "xs", "arrays", "condition", "indices", "key", "operands", "tensors", "a", "b"})

#: One call: a layer's name and which of its calls.
_Call = tuple[str, int]


@dataclass(frozen=True)
class Member:
    """A layer of the model: its checked configuration's class, its calls as given, and where it stands."""

    name: str
    class_name: str
    calls: list[Any]
    pointer: str
    operation: bool = False

    @property
    def results(self) -> int:
        """Return how many nodes a tensor's history may name. A nested model has one of its own."""
        return len(self.calls) + (self.class_name in ("InputLayer", "Functional"))


@dataclass
class Graph:
    """The layers of one Functional model; `wrong` takes a pointer and a sentence."""

    members: dict[str, Member]
    wrong: Wrong
    needs: dict[_Call, set[_Call]] = field(default_factory=dict)

    def connect(self, member: Member) -> list[Any]:
        """Return the checked nodes of one layer."""
        if not member.calls and member.class_name != "InputLayer":
            self.wrong(member.pointer, f"Layer {shown(member.name)} is connected to nothing.")
        pointer = f"{member.pointer}/inbound_nodes"
        return [self._call(member, index, f"{pointer}/{index}") for index in range(len(member.calls))]

    def _call(self, member: Member, index: int, pointer: str) -> dict[str, Any] | None:
        call = member.calls[index]
        needs = self.needs.setdefault((member.name, index), set())
        if not isinstance(call, dict) or set(call) != {"args", "kwargs"}:
            self.wrong(pointer, "A node must be an object with args and kwargs, as Keras 3 writes it.")
            return None
        args, kwargs = call["args"], call["kwargs"]
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            self.wrong(pointer, "A node's args must be an array, and its kwargs an object.")
            return None
        known = OPERANDS if member.operation else CALL_ARGUMENTS
        for name in sorted(set(kwargs) - known):
            self.wrong(f"{pointer}/kwargs/{escaped(name)}", f"No layer takes {shown(name)} when it is called.")
        checked = {
            "args": [self._value(item, f"{pointer}/args/{place}", needs) for place, item in enumerate(args)],
            "kwargs": {
                name: self._value(item, f"{pointer}/kwargs/{name}", needs)
                for name, item in kwargs.items()
                if name in known
            },
        }
        if not needs:
            self.wrong(pointer, f"Layer {shown(member.name)} is called without a tensor.")
        return checked

    def _value(self, value: Any, pointer: str, needs: set[_Call]) -> Any:
        if isinstance(value, list):
            return [self._value(item, f"{pointer}/{index}", needs) for index, item in enumerate(value)]
        if isinstance(value, dict) and "class_name" in value:
            if value["class_name"] in ("__slice__", "__ellipsis__"):
                return self._slice(value, pointer)
            return self._tensor(value, pointer, needs)
        if isinstance(value, dict):
            return {
                key: self._value(item, f"{pointer}/{escaped(key)}", needs)
                for key, item in value.items()
                if self._is(NAME, key, "A tensor's key", pointer)
            }
        if isinstance(value, str):
            self.wrong(pointer, f"A layer is called with tensors, numbers, true, false or null, not {shown(value)}.")
            return None
        return value

    def _slice(self, value: dict[str, Any], pointer: str) -> dict[str, Any] | None:
        """Return what an indexing operation takes besides tensors: `start:stop:step`, or `...`."""
        bounds = {} if value["class_name"] == "__ellipsis__" else dict.fromkeys(("start", "stop", "step"))
        config = value.get("config")
        if set(value) != {"class_name", "config"} or not isinstance(config, dict) or set(config) != set(bounds):
            self.wrong(pointer, "A slice must have start, stop and step, and nothing else.")
            return None
        for key, bound in config.items():
            self._is(_BOUND, bound, f"A slice's {key}", f"{pointer}/config/{key}")
        return {"class_name": value["class_name"], "config": config}

    def _tensor(self, value: dict[str, Any], pointer: str, needs: set[_Call]) -> dict[str, Any] | None:
        config = value.get("config")
        if value["class_name"] != "__keras_tensor__" or set(value) != {"class_name", "config"}:
            self.wrong(pointer, f"Only tensors of the model may be given to a layer, not {shown(value['class_name'])}.")
            return None
        if not isinstance(config, dict) or set(config) != {"shape", "dtype", "keras_history"}:
            self.wrong(f"{pointer}/config", "A tensor must have shape, dtype and keras_history, and nothing else.")
            return None
        self._is(_SIZES, config["shape"], "A tensor's shape", f"{pointer}/config/shape")
        self._is(_DTYPE, config["dtype"], "A tensor's dtype", f"{pointer}/config/dtype")
        if call := self._history(config["keras_history"], f"{pointer}/config/keras_history"):
            needs.add(call)
        return {"class_name": "__keras_tensor__", "config": config}

    def _is(self, kind: Value, value: object, what: str, pointer: str) -> bool:
        if kind.accepts(value):
            return True
        self.wrong(pointer, f"{what} must be {kind.says}, not {shown(value)}.")
        return False

    def _history(self, value: Any, pointer: str) -> _Call | None:
        match value:
            case [str(name), node, result]:
                pass
            case _:
                self.wrong(pointer, "A tensor's history must be [layer's name, node, result].")
                return None
        member = self.members.get(name)
        if member is None:
            self.wrong(pointer, f"There is no layer {shown(name)} in this model.")
            return None
        if not self._is(Whole(0, max(member.results - 1, 0)), node, f"The node of layer '{name}'", pointer):
            return None
        return (name, node) if self._is(_RESULT, result, "A result's number", pointer) else None

    def ends(self, value: Any, pointer: str, *, inputs: bool) -> Any:
        """Return the checked `input_layers` or `output_layers`: one history, or a list or an object of them."""
        if isinstance(value, dict) and value:
            return {
                key: self.ends(item, f"{pointer}/{escaped(key)}", inputs=inputs)
                for key, item in value.items()
                if self._is(NAME, key, "A key of the model's ends", pointer)
            }
        if not isinstance(value, list) or not value:
            self.wrong(pointer, "There must be a tensor's history, or an array or object of them.")
            return None
        if not isinstance(value[0], str):
            return [self.ends(item, f"{pointer}/{index}", inputs=inputs) for index, item in enumerate(value)]
        call = self._history(value, pointer)
        if call and inputs and self.members[call[0]].class_name != "InputLayer":
            self.wrong(pointer, f"An input of the model must be an InputLayer, and '{call[0]}' is none.")
        return value

    def untangle(self, pointer: str) -> None:
        """Check that the calls can be made in some order."""
        waiting = {call: {need for need in needs if need in self.needs} for call, needs in self.needs.items()}
        unlocks: dict[_Call, list[_Call]] = {}
        for call, needs in waiting.items():
            for need in needs:
                unlocks.setdefault(need, []).append(call)
        ready = [call for call, needs in waiting.items() if not needs]
        while ready:
            done = ready.pop()
            del waiting[done]
            for call in unlocks.get(done, ()):
                waiting[call].discard(done)
                if not waiting[call]:
                    ready.append(call)
        if waiting:
            name = min(waiting)[0]
            self.wrong(pointer, f"The layers form a loop: {shown(name)} needs its own result.")
