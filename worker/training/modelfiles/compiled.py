"""What a model file says about how its model was compiled, as a spec's `compile`. Pure.

Keras 3 writes names and configurations as a spec takes them. Keras 1 and 2 have other names for some arguments: those
are renamed, and what only their own machinery needs is left out. Everything then passes the allow-list.
"""

from typing import Any

from pydantic import ValidationError

from shared.errors import BadSpec
from shared.fit_spec import Compile
from shared.parts import field_errors

#: Arguments of old optimizers that have no meaning in Keras 3.
_DROPPED = frozenset({"jit_compile", "is_legacy_optimizer", "schedule_decay", "decay", "lr"})
#: Metrics that Keras chooses by the output's shape, as old wrappers name them.
_CHOSEN = frozenset({"accuracy", "acc"})


def read(said: dict[str, Any], label: str, *, old: bool) -> Compile:
    """Return what a file says as a spec's `compile`; `old` when Keras 1 or 2 wrote it. Raise `BadSpec`."""
    try:
        found = {
            "optimizer": _optimizer(_optimizer_config(said), old=old),
            "loss": _loss(said.get("loss"), old=old),
            "metrics": _metrics(said.get("metrics"), old=old),
        }
        for name in ("loss_weights", "weighted_metrics"):
            if _flat(said.get(name)):
                found[name] = said[name]
        return Compile.model_validate(found)
    except ValidationError as error:
        first = field_errors(error)[0]
        raise BadSpec(
            f"{label} says how its model was compiled, at {first.pointer}: {first.message} {_REMEDY}"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadSpec(f"{label} does not say in a known way how its model was compiled. {_REMEDY}") from error


_REMEDY = "Give compile in the spec."


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return [] if value is None else [value]
    return [item for one in value for item in _flat(one)]


def _optimizer_config(said: dict[str, Any]) -> Any:
    return said.get("optimizer") or said["optimizer_config"]


def _optimizer(value: Any, *, old: bool) -> Any:
    if not isinstance(value, dict) or not old:
        return value
    config = dict(value["config"])
    rate = config.get("learning_rate", config.get("lr"))
    decay = config.get("decay") or 0.0
    kept = {name: item for name, item in config.items() if name not in _DROPPED and item is not None}
    if isinstance(rate, dict):
        kept["learning_rate"] = {"class_name": rate["class_name"], "config": rate["config"]}
    elif decay:
        # What `decay` did at each step, as the schedule that does it.
        plan = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
        kept["learning_rate"] = {"class_name": "InverseTimeDecay", "config": plan}
    elif rate is not None:
        kept["learning_rate"] = rate
    return {"class_name": str(value["class_name"]).rpartition(">")[2], "config": kept}


def _loss(value: Any, *, old: bool) -> Any:
    if isinstance(value, list):
        return [_loss(item, old=old) for item in value]
    if not isinstance(value, dict) or not old:
        return value
    if "class_name" not in value:
        return {name: _loss(item, old=old) for name, item in value.items()}
    config = {name: item for name, item in value.get("config", {}).items() if name != "fn"}
    if config.get("reduction") in {"auto", None}:
        config.pop("reduction", None)
    return {"class_name": value["class_name"], "config": config}


def _metrics(value: Any, *, old: bool) -> Any:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        # One output: its metrics in a list of their own.
        value = value[0]
    if value is None or not old:
        return value or []
    if isinstance(value, dict):
        return {name: _metrics(item, old=old) for name, item in value.items()}
    return [_metric(item) for item in value if item is not None] if isinstance(value, list) else [_metric(value)]


def _metric(value: Any) -> Any:
    if isinstance(value, list):
        return [_metric(item) for item in value]
    if not isinstance(value, dict):
        return value
    config = value["config"]
    if value["class_name"] in {"MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"}:
        return config["name"] if config["name"] in _CHOSEN else config["fn"]
    return {"class_name": value["class_name"], "config": {name: item for name, item in config.items() if name != "fn"}}
