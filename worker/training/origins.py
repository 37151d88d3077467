"""Where a model comes from: the spec itself, a file, or another job; and what comes with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from shared.errors import BadData, BadSpec
from shared.fit_spec import Compile, SavedCompile
from shared.model_spec import ArchitectureModel, JobModel, LayersModel, Model, UploadModel
from shared.spec import Spec
from shared.store import StoredFile
from worker.training import checkpoints
from worker.training.modelfiles.files import ModelFile
from worker.wire import Assignment

_MODEL: TypeAdapter[Model] = TypeAdapter(Model)


@dataclass(frozen=True)
class Origin:
    """A model's architecture, and what its source says about it; nothing but the architecture for a new one."""

    config: dict[str, Any]
    #: How the source job compiled it, and how it prepared data.
    compile: Compile | None = None
    scale: float | None = None
    one_hot: int | None = None
    class_names: tuple[str, ...] | None = None
    #: The file that its weights are in.
    file: ModelFile | None = None


def find(assignment: Assignment, model: Model) -> Origin:
    """Return where the spec's model comes from. Raise `BadSpec` or `BadData` for what a file holds."""
    if isinstance(model, JobModel):
        return _of_job(assignment, model)
    if isinstance(model, UploadModel):
        file = _file(assignment, model.upload)
        return Origin(file.architecture(), file=file)
    return Origin(model.keras_config(), file=_file(assignment, model.weights) if model.weights else None)


def _file(assignment: Assignment, name: str) -> ModelFile:
    memory_mb = assignment.spec.get("resources", {}).get("memory_mb", 2048)
    return ModelFile(Path(assignment.volume), name, memory_mb << 20)


def _of_job(assignment: Assignment, model: JobModel) -> Origin:
    source = assignment.source
    if source is None:
        raise BadSpec(f"The model of job {model.job} was not resolved.")
    root = _MODEL.validate_python(source["model"])
    if isinstance(root, JobModel):
        raise BadSpec(f"The model of job {model.job} was not resolved to its root.")
    compiled = source["compile"]
    if isinstance(root, (LayersModel, ArchitectureModel)) and compiled:
        config = root.keras_config()
    else:
        # What came out of a file once is in the job's checkpoints: the file may be gone.
        said = checkpoints.manifest(Path(assignment.volume), StoredFile(**source["file"]))
        config, compiled = said["architecture"], compiled or said["compile"]
    names = source.get("class_names")
    return Origin(
        config,
        Compile.model_validate(compiled),
        source["scale"],
        source["one_hot"],
        tuple(names) if names else None,
    )


def compiled(own: Compile | SavedCompile | None, found: Origin) -> Compile:
    """Return how a job compiles its model: as it says itself, else as the model's source did. Raise `BadSpec`."""
    if isinstance(own, Compile):
        return own
    said = found.compile or (found.file.compiled() if found.file is not None else None)
    if said is None:
        what = found.file.file if found.file is not None else "The model's source"
        raise BadSpec(f"{what} does not say how the model was compiled: give compile in the spec.")
    return said


def pin(assignment: Assignment, spec: Spec, numerics: dict[str, Any]) -> dict[str, Any]:
    """Return `numerics` with the SHA-256 of the model's file, which is to stay as the first attempt found it.

    An upload's name is its SHA-256; a file below the data folder may have been changed: then raise `BadData`.
    """
    found = spec.model
    name = found.upload if isinstance(found, UploadModel) else getattr(found, "weights", None)
    if name is None or name.startswith("sha256:"):
        return numerics
    here = _file(assignment, name).sha256()
    before = numerics.get("files", {}).get(name, here)
    if before != here:
        raise BadData(f"{name} was changed after the job had begun: its SHA-256 was {before[:12]}…, now {here[:12]}….")
    return {**numerics, "files": {name: here}}
