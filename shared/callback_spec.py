"""What a train job's callbacks must be, each and together. Pure."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shared import architecture, names
from shared.errors import FieldError
from shared.parts import SpecFault, allowed

#: Where a callback writes, by its name: the argument, and what it is when left out.
_WRITES = {"ModelCheckpoint": ("filepath", ""), "CSVLogger": ("filename", ""), "TensorBoard": ("log_dir", "logs")}


def _known(value: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
    """Refuse what the allow-list does not have, and callbacks that would write over each other's files."""
    configs = [
        allowed(architecture.checked_callback, callback, pointer=f"/{index}") for index, callback in enumerate(value)
    ]
    taken: dict[str, int] = {}
    for index, config in enumerate(configs):
        if fault := _ending(config):
            raise SpecFault((FieldError(f"/{index}", fault),))
        for name in _written(config):
            if name in taken:
                message = f"'{name}' is where callback {taken[name]} (from 0) writes, too: give each a name of its own."
                raise SpecFault((FieldError(f"/{index}", message),))
            taken[name] = index
    return value


def _ending(config: dict[str, Any]) -> str | None:
    """Return the sentence about a ModelCheckpoint whose file's name does not say its format, or None."""
    if config["class_name"] != "ModelCheckpoint":
        return None
    path, weights = config["config"]["filepath"], config["config"].get("save_weights_only", False)
    if weights and not path.endswith(".weights.h5"):
        return "With save_weights_only, filepath must end in '.weights.h5'."
    if not weights and (not path.endswith((".keras", ".h5")) or path.endswith(".weights.h5")):
        return "filepath must end in '.keras' or '.h5'; weights alone (.weights.h5) need save_weights_only: true."
    return None


def _written(config: dict[str, Any]) -> Iterator[str]:
    argument, default = _WRITES.get(config["class_name"], (None, ""))
    if argument is not None:
        yield names.plain(config["config"].get(argument, default))


def check_rates(value: list[str | dict[str, Any]], epochs: int) -> None:
    """Refuse a LearningRateScheduler whose table is shorter than the epochs."""
    for index, callback in enumerate(value):
        config = architecture.checked_callback(callback)
        rates = config["config"].get("rates")
        if rates is not None and len(rates) < epochs:
            message = f"rates has {len(rates)} entries; fit.epochs is {epochs}: give the rate of each epoch, from 0."
            raise SpecFault((FieldError(f"/callbacks/{index}", message),))


Callbacks = Annotated[list[str | dict[str, Any]], Field(max_length=32), AfterValidator(_known)]
