"""What a job leaves on the volume, counted before its first step, and whether it fits.

Counted are checkpoints as retention keeps them, the models that ModelCheckpoint saves, and predictions. Logs of
callbacks (CSVLogger, TensorBoard) are not: `resources.disk_mb` holds for them while they grow.
"""

import json
import shutil
from dataclasses import dataclass
from typing import Any

from shared import architecture, names
from shared.errors import BadSpec, DiskFull, FieldError
from shared.incoming import RESERVE
from shared.spec import TrainSpec
from worker.training.sizing import Size
from worker.wire import Assignment

#: Bytes of a file beside its arrays: for each array its headers, its place in the archive and in the manifest.
_ARRAY_BYTES = 800
_FILE_BYTES = 16 << 10
#: Bytes of one epoch in Keras's history, which each checkpoint holds.
_EPOCH_BYTES = 200
_NUMBER_BYTES = 4


@dataclass(frozen=True)
class Footprint:
    """What a job leaves at most."""

    #: Bytes of one checkpoint.
    checkpoint_bytes: int = 0
    #: Checkpoints that are kept at a time.
    checkpoints: int = 0
    artifact_bytes: int = 0

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.checkpoint_bytes * self.checkpoints + self.artifact_bytes

    def __str__(self) -> str:
        parts = []
        if self.checkpoints:
            parts.append(f"{self.checkpoints} checkpoints of {mb(self.checkpoint_bytes)}")
        if self.artifact_bytes:
            parts.append(f"artifacts of {mb(self.artifact_bytes)}")
        return f"up to {mb(self.bytes)} on the volume ({' and '.join(parts) or 'nothing'})"


def mb(count: int) -> str:
    """Write bytes for a person."""
    return f"{count / (1 << 20):,.1f} MB"


def of_training(spec: TrainSpec, size: Size, config: dict[str, Any], *, slots: int) -> Footprint:
    """Return what a train job leaves; `config` is the model's architecture, `slots` the optimizer's for each weight."""
    epochs = spec.fit.epochs - spec.fit.initial_epoch
    optimizer_bytes = slots * size.trainable_bytes
    arrays = size.variables + slots * size.trainable_variables
    best = [one for one in _callbacks(spec, "EarlyStopping") if one.get("restore_best_weights")]
    held = size.weight_bytes * (1 + len(best)) + optimizer_bytes
    about = _FILE_BYTES + 2 * len(json.dumps(config)) + _EPOCH_BYTES * spec.fit.epochs
    checkpoint = held + about + _ARRAY_BYTES * (arrays + len(best) * size.variables)
    kept = min(spec.checkpoint.keep_last + spec.checkpoint.keep_best, epochs)
    # Keras's files hold the optimizer's state, those of the weights alone as well.
    model = size.weight_bytes + optimizer_bytes + about + _ARRAY_BYTES * arrays
    models = sum(_files(arguments, epochs) for arguments in _callbacks(spec, "ModelCheckpoint"))
    # Two more: within an epoch, or one of these and what the callbacks make of the weights in the end.
    return Footprint(checkpoint, kept + 2, model * models)


def _callbacks(spec: TrainSpec, name: str) -> list[dict[str, Any]]:
    """Return the arguments of the spec's callbacks of a class."""
    configs = [architecture.checked_callback(one) for one in spec.callbacks]
    return [config["config"] for config in configs if config["class_name"] == name]


def _files(arguments: dict[str, Any], epochs: int) -> int:
    """Return how many files a ModelCheckpoint leaves.

    Of the best only, which are few, and of those within epochs one is counted: `disk_mb` holds for the others.
    """
    each = arguments.get("save_freq", "epoch") == "epoch" and not arguments.get("save_best_only")
    return epochs if each and names.has_fields(arguments["filepath"]) else 1


def of_predictions(rows: int, outputs: int) -> Footprint:
    """Return what a predict job leaves: so many numbers for each row."""
    return Footprint(artifact_bytes=_FILE_BYTES + _NUMBER_BYTES * rows * outputs)


def free_bytes(assignment: Assignment) -> int:
    """Return how much the volume has room for: its disk, and what the installation allows (`FITQ_VOLUME_MAX_MB`)."""
    disk = max(0, shutil.disk_usage(assignment.volume).free - RESERVE)
    allowed = assignment.volume_max_bytes
    return disk if allowed is None else max(0, min(disk, allowed - assignment.volume_used_bytes))


def check(footprint: Footprint, assignment: Assignment) -> None:
    """Raise `BadSpec` for a job that leaves more than it, or the installation, may; `DiskFull` without room for it now.

    What an interrupted job has left so far is there already.
    """
    check_allowed(footprint, assignment)
    held = sum(one.file.bytes for one in assignment.checkpoints if not one.inherited)
    if footprint.bytes - held > (free := free_bytes(assignment)):
        raise DiskFull(
            f"The job leaves {footprint}, and there is room for {mb(free)}: delete jobs (`fitq delete`) or uploads, "
            "or keep fewer checkpoints."
        )


def check_allowed(footprint: Footprint, assignment: Assignment) -> None:
    """Raise `BadSpec` for a job that can never fit what it, or the installation, may take."""
    asked = assignment.spec.get("resources", {}).get("disk_mb")
    advice = (
        "keep fewer (checkpoint.keep_last, checkpoint.keep_best)" if footprint.checkpoints else "predict fewer rows"
    )
    if asked is not None and footprint.bytes > asked << 20:
        needed = -(-footprint.bytes // (1 << 20))
        raise _refused(
            f"The job leaves {footprint}; resources.disk_mb allows {asked:,}: ask for {needed:,}, or {advice}."
        )
    most = assignment.volume_max_bytes
    if most is not None and footprint.bytes > most:
        raise _refused(
            f"The job leaves {footprint}; this installation's volume takes {mb(most)} (FITQ_VOLUME_MAX_MB): {advice}."
        )


def _refused(message: str) -> BadSpec:
    return BadSpec(message, fields=(FieldError("/resources/disk_mb", message),))
