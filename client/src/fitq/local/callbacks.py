"""Keras's callback objects as the spec's callbacks, and what comes back to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fitq.errors import CannotTravel
from fitq.local import rates
from fitq.local.files import Landing, landing

#: The attributes that are the arguments of the callback's class, by class.
_ARGUMENTS = {
    "EarlyStopping": (
        "monitor",
        "min_delta",
        "patience",
        "verbose",
        "mode",
        "baseline",
        "restore_best_weights",
        "start_from_epoch",
    ),
    "ReduceLROnPlateau": ("monitor", "factor", "patience", "verbose", "mode", "min_delta", "cooldown", "min_lr"),
    "SwapEMAWeights": ("swap_on_epoch",),
    "TerminateOnNaN": ("raise_error",),
    "ModelCheckpoint": ("filepath", "monitor", "verbose", "save_best_only", "save_weights_only", "mode", "save_freq"),
    "TensorBoard": (
        "log_dir",
        "histogram_freq",
        "write_graph",
        "write_steps_per_second",
        "update_freq",
    ),
    "CSVLogger": ("filename", "append"),
}
#: Which argument names the files that a callback leaves.
_FILES = {"ModelCheckpoint": "filepath", "TensorBoard": "log_dir", "CSVLogger": "filename"}
#: What a finished job writes back into the caller's objects.
_WRITTEN_BACK = ("best", "best_epoch", "cooldown_counter", "stopped_epoch", "wait")
#: Callbacks of Keras's own for which a job has no room, and why not.
_REMEDIES = {
    "BackupAndRestore": "leave it out: a job resumes from its own checkpoints",
    "LambdaCallback": "its functions are code: use what the job reports (job.events(), job.metrics()) instead",
    "RemoteMonitor": "leave it out, and read the job's events (job.events()) instead",
    "OrbaxCheckpoint": "use ModelCheckpoint",
}


@dataclass(frozen=True)
class Translated:
    """Callbacks as the spec has them, the objects they came from, and where their files land."""

    specs: list[Any]
    objects: list[Any]
    landings: list[Landing]
    #: The caller's own History, if he gave one.
    history: Any = None


def translated(callbacks: Any, model: Any, *, initial_epoch: int, epochs: int) -> Translated:
    """Translate a fit's callbacks. Raise `CannotTravel` naming one that no worker can have, with the remedy."""
    objects = [one for one in flat(callbacks) if _name(one) not in {"History", "ProgbarLogger"}]
    histories = [one for one in flat(callbacks) if _name(one) == "History"]
    for one in objects:
        _check(one)
    tables = iter(_tables(objects, model, first=initial_epoch, epochs=epochs))
    specs, landings = [], []
    for index, one in enumerate(objects):
        name = _name(one)
        if name == "LearningRateScheduler":
            specs.append({name: {"rates": next(tables), "verbose": int(one.verbose)}})
            continue
        arguments = _arguments(one)
        if name in _FILES:
            found = landing(index, Path(arguments[_FILES[name]]), append=bool(getattr(one, "append", False)))
            landings.append(found)
            arguments[_FILES[name]] = found.name
        specs.append({name: arguments})
    return Translated(specs, objects, landings, histories[0] if histories else None)


def flat(callbacks: Any) -> list[Any]:
    """Return the callbacks as a list: None, one, several or a CallbackList."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    if isinstance(callbacks, (list, tuple)):
        return [one for part in callbacks for one in flat(part)]
    return [callbacks]


def refuse_all(callbacks: Any, call: str) -> None:
    """Refuse callbacks of evaluate and predict: none of Keras's own does anything there."""
    for one in flat(callbacks):
        if _name(one) != "ProgbarLogger":
            raise CannotTravel(
                f"callbacks={type(one).__name__} cannot travel: {call} takes no callbacks; call model.{call} here."
            )


def _name(callback: Any) -> str:
    """Return the name of Keras's class that this is, old Keras's too; empty for anyone else's."""
    kind = type(callback)
    return kind.__name__ if kind.__module__.split(".")[0] in {"keras", "tf_keras"} else ""


def _check(callback: Any) -> None:
    name = _name(callback)
    if name in _ARGUMENTS or name == "LearningRateScheduler":
        check = _CHECKS.get(name)
        if check is not None:
            check(callback)
        return
    known = ", ".join(sorted([*_ARGUMENTS, "LearningRateScheduler"]))
    remedy = _REMEDIES.get(name, f"no code travels; these do: {known}. Its work may fit into job.events()")
    raise CannotTravel(f"The callback {type(callback).__name__} cannot travel: {remedy}.")


def _check_tensorboard(callback: Any) -> None:
    if getattr(callback, "_should_trace", False):
        raise CannotTravel("TensorBoard(profile_batch=…) cannot travel: leave it 0, and profile a fit here.")
    for argument in ("embeddings_freq", "embeddings_metadata", "write_images"):
        if getattr(callback, argument, None):
            raise CannotTravel(f"TensorBoard({argument}=…) cannot travel: leave it out; histogram_freq shows weights.")


_CHECKS: dict[str, Callable[[Any], None]] = {"TensorBoard": _check_tensorboard}


def _arguments(callback: Any) -> dict[str, Any]:
    name = _name(callback)
    found = {argument: getattr(callback, argument, None) for argument in _ARGUMENTS[name]}
    given: dict[str, Any] = {argument: _plain(value) for argument, value in found.items() if value is not None}
    if "min_delta" in given:
        # Once used, Keras's own has turned its sign.
        given["min_delta"] = abs(given["min_delta"])
    if name == "CSVLogger":
        given["separator"] = callback.sep
        # What is there already stays here: see `files`.
        given["append"] = False
    if name == "ModelCheckpoint" and callback.best is not None:
        given["initial_value_threshold"] = float(callback.best)
    return given


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's."""
    return value.item() if hasattr(value, "item") else value


def _tables(objects: Sequence[Any], model: Any, *, first: int, epochs: int) -> list[list[float]]:
    schedulers = [one for one in objects if _name(one) == "LearningRateScheduler"]
    if not schedulers:
        return []
    rate = rates.start(model)
    if any(_name(one) == "ReduceLROnPlateau" for one in objects):
        for one in schedulers:
            if rates.depends_on_rate(one.schedule, rate, first=first, epochs=epochs):
                raise CannotTravel(
                    "LearningRateScheduler's function depends on the optimizer's rate, which ReduceLROnPlateau changes "
                    "by what happens in training: no table can hold that. Use one of the two, or a function of the "
                    "epoch alone."
                )
    return rates.tables([one.schedule for one in schedulers], rate, first=first, epochs=epochs)


def write_back(objects: Sequence[Any], states: Sequence[Mapping[str, Any]]) -> None:
    """Set what the callbacks found out in the caller's objects: best, stopped_epoch, wait."""
    for one, state in zip(objects, states, strict=False):
        for name in _WRITTEN_BACK:
            value = state.get(name)
            if hasattr(one, name) and (value is None or isinstance(value, (int, float))) and name in state:
                setattr(one, name, value)
