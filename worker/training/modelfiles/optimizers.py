"""An optimizer's state from a file: the arrays of Keras 3 in its own order, or the slots of Keras 1 and 2 by name."""

from dataclasses import dataclass, field
from typing import Any

from shared.errors import BadData, BadSpec, FieldError
from worker.training.modelfiles import stored
from worker.training.modelfiles.stored import Stored

#: What Keras 1 and 2 call a slot, and what Keras 3 calls it, by the optimizer's class.
_ADAM = {"m": "momentum", "v": "velocity", "vhat": "velocity_hat"}
SLOTS: dict[str, dict[str, str]] = {
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Adamax": {"m": "momentum", "v": "norm", "u": "norm"},
    "SGD": {"momentum": "momentum", "m": "momentum"},
    "RMSprop": {
        "rms": "velocity",
        "velocity": "velocity",
        "momentum": "momentum",
        "mg": "average_gradient",
        "average_gradient": "average_gradient",
    },
    "Adagrad": {"accumulator": "accumulator"},
    "Adadelta": {
        "accum_grad": "accumulated_grad",
        "accumulated_grad": "accumulated_grad",
        "accum_var": "accumulated_delta_var",
        "accumulated_delta_var": "accumulated_delta_var",
    },
}
#: All old names of slots.
_OLD_SLOTS = frozenset(name for names in SLOTS.values() for name in names)


@dataclass(frozen=True)
class Slots:
    """The state of an optimizer of Keras 1 or 2."""

    label: str
    iterations: Stored | None
    learning_rate: Stored | None
    #: By the slot's old name, one array for each trainable variable in the model's order.
    slots: dict[str, list[Stored]] = field(default_factory=dict)


def slot_of(name: str) -> str | None:
    """Return the slot that a variable of Keras 2's optimizer is, by its name; or None.

    Old optimizers say `Adam/dense/kernel/m:0`, those since 2.11 `Adam/m/dense/kernel:0`.
    """
    parts = name.removesuffix(":0").split("/")
    return next((part for part in (parts[-1], *parts[1:2]) if part in _OLD_SLOTS), None)


def refused(message: str) -> BadSpec:
    """Return the error of a state that cannot be gone on with."""
    where = "/compile/continue_optimizer"
    return BadSpec(
        f"{message} Leave compile.continue_optimizer out to start with a new optimizer.",
        fields=(FieldError(where, message),),
    )


def continue_flat(optimizer: Any, arrays: list[Stored], label: str) -> None:
    """Give a built optimizer the state that Keras 3 saved. Raise `BadSpec` before anything has changed."""
    variables = optimizer.variables
    if len(arrays) != len(variables):
        raise refused(
            f"{label} holds {len(arrays)} variables of an optimizer; {type(optimizer).__name__} has "
            f"{len(variables)} for this model."
        )
    pairs = list(zip(variables, arrays, strict=True))
    _check(pairs)
    stored.assign(pairs)


def _check(pairs: list[tuple[Any, Stored]]) -> None:
    for variable, array in pairs:
        try:
            stored.check_fits(array, variable, f"the optimizer's '{variable.path}'")
        except BadData as error:
            raise refused(error.message) from error


def continue_slots(optimizer: Any, old: Slots, trainable: list[Any]) -> None:
    """Give a built optimizer the state that Keras 1 or 2 saved. Raise `BadSpec` before anything has changed."""
    name = type(optimizer).__name__
    if name not in SLOTS:
        raise refused(f"The state that Keras 2 saved of {name} has another form in Keras 3.")
    pairs: list[tuple[Any, Stored]] = []
    if old.iterations is not None:
        pairs.append((optimizer.iterations, old.iterations))
    rate = getattr(optimizer, "_learning_rate", None)
    if old.learning_rate is not None and rate is not None and hasattr(rate, "assign"):
        pairs.append((rate, old.learning_rate))
    unknown = set(old.slots) - set(SLOTS[name])
    if unknown:
        raise refused(f"{old.label} holds the slot '{min(unknown)}', which {name} has not.")
    taken = {id(variable) for variable, _ in pairs}
    for slot, arrays in old.slots.items():
        there = _slot(optimizer, SLOTS[name][slot], trainable)
        if len(there) != len(arrays):
            raise refused(
                f"{old.label} holds '{slot}' for {len(arrays)} variables; {name} keeps it for {len(there)} here."
            )
        pairs += zip(there, arrays, strict=True)
        taken |= {id(variable) for variable in there}
    missing = [v for v in optimizer.variables if id(v) not in taken and tuple(v.shape)]
    if missing:
        raise refused(f"{old.label} holds nothing for the optimizer's '{missing[0].path}'.")
    _check(pairs)
    stored.assign(pairs)


def _slot(optimizer: Any, slot: str, trainable: list[Any]) -> list[Any]:
    """Return the variables of one slot in the order of the trainable variables they belong to."""
    ending = f"_{slot}"
    others = [f"_{name}" for name in _ADAM.values() if name != slot and name.endswith(ending)]
    found = [v for v in optimizer.variables if v.path.endswith(ending) and not any(v.path.endswith(o) for o in others)]
    return found if len(found) == len(trainable) else []
