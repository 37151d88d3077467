"""The export job: a trained model in another format, as one file."""

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from shared import store
from shared.formats import COMPILED, FILES, Format
from shared.spec import ExportSpec
from worker.training import checkpoints, formats, models, origins, sizing
from worker.training.faults import explained
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.wire import Artifact, Assignment, Finished


def run(assignment: Assignment, spec: ExportSpec, report: Report, *, jit: bool) -> Finished:
    """Write the source's model in a format. Raise `BadSpec` when the format cannot hold it."""
    pulse = Pulse(report)
    pulse.phase("building")
    model = _model(assignment, spec, jit=jit)
    pulse.phase("writing")
    ending, content_type = FILES[spec.format]
    path = f"{store.attempt_folder(assignment.job_id, assignment.attempt)}/model{ending}"
    volume = Path(assignment.volume)
    with _scratch((volume / path).parent) as folder:
        written = _written(model, spec.format, folder)
        with store.writing(volume, path) as file:
            if written.is_dir():
                _zip(written, file)
            else:
                with written.open("rb") as whole:
                    shutil.copyfileobj(whole, file, 1 << 20)
    report.say(Artifact(f"model{ending}", content_type, store.describe(volume, path)))
    return Finished({"format": spec.format, "parameters": models.parameters(model)})


def _model(assignment: Assignment, spec: ExportSpec, *, jit: bool) -> Any:
    """Return the model with the checkpoint's weights; compiled, with its optimizer's state, where the format has it."""
    origin = origins.find(assignment, spec.model)
    if spec.format not in COMPILED:
        return models.build(assignment, origin, spec.resources, optimizer_slots=None)
    compiled = origins.compiled(None, origin)
    slots = sizing.slots(models.optimizer(compiled))
    model = models.build(assignment, origin, spec.resources, optimizer_slots=slots)
    models.compile_model(model, compiled, jit=jit)
    model.optimizer.build(model.trainable_variables)
    checkpoints.load_optimizer(model, assignment)
    return model


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Give a folder on the volume, where there is room, to libraries that write files by name."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=parent) as folder:
        yield Path(folder)


def _written(model: Any, form: Format, folder: Path) -> Path:
    """Write the model below `folder`; return the file, or the folder that is to be zipped."""
    # What libraries print about it belongs to the log.
    with explained(f"The model cannot be written as {form}"), redirect_stdout(sys.stderr):
        return formats.WRITERS[form](model, folder)


def _zip(folder: Path, file: Any) -> None:
    """Write a folder's files as a ZIP archive, by paths relative to the folder."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
