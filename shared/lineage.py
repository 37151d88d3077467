"""What a job is made from: another job's model, resolved and pinned at submit."""

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import checkpoints
from shared.checkpoints import Saved
from shared.errors import BadSpec, Conflict, FieldError
from shared.model_spec import JobModel
from shared.spec import ExportSpec, Spec
from shared.states import Kind, State
from shared.store import StoredFile
from shared.tables import job_inputs, jobs, results


@dataclass(frozen=True)
class Source:
    """The model of another job: everything that is needed to build it, frozen."""

    job: str
    #: The checkpoint's name, resolved from `final`, `last`, `best` or an epoch.
    checkpoint: str
    file: StoredFile
    #: The source job's own `model`, which is never itself another job's (resolved to the root).
    model: dict[str, Any]
    #: None when the model came with it in a file: then the checkpoint says it.
    compile: dict[str, Any] | None
    scale: float | None
    one_hot: int | None
    #: What the classes are called, where the job's data said it.
    class_names: list[str] | None = None
    #: Where training goes on, [epochs, steps] that are complete; None for a model whose training begins anew.
    resumes: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what stands in `jobs.source`."""
        return asdict(self)


def resolve(connection: Connection, spec: Spec | ExportSpec) -> Source | None:
    """Return the pinned source of a spec that names another job's model, else None.

    Raise `BadSpec` when there is no such job or checkpoint, `Conflict` while it is unfinished.
    """
    if not isinstance(spec.model, JobModel):
        return None
    # Shared with other submits, but not with the source's own writes: what is found stays until this
    # transaction has written down that it is needed.
    query = sa.select(jobs).where(jobs.c.id == spec.model.job).with_for_update(read=True)
    row = connection.execute(query).one_or_none()
    if row is None or row.kind != Kind.TRAIN:
        raise _wrong("/model/job", f"There is no train job {spec.model.job}.")
    if row.state != State.SUCCEEDED and spec.model.checkpoint == "final":
        raise Conflict(
            f"Job {row.id} is {row.state}: its final model exists once it has succeeded.",
            fields=(FieldError("/model/job", f"is {row.state}"),),
        )
    saved = checkpoints.find(connection, row.id, spec.model.checkpoint)
    if saved is None:
        raise _wrong("/model/checkpoint", f"Job {row.id} has no checkpoint {spec.model.checkpoint!r} (any more).")
    return source_of(connection, row, saved)


def source_of(connection: Connection, row: Any, saved: Saved, *, resumes: bool = False) -> Source:
    """Return the model of a train job's row at one of its checkpoints; `resumes` when its training is to go on."""
    compiled, data = row.spec.get("compile", {}), row.spec["data"]
    if set(compiled) <= {"continue_optimizer"}:
        # Compiled as its own source was, or as a file said: then the checkpoint says it.
        compiled = row.source["compile"] if row.source else None
    return Source(
        job=row.id,
        checkpoint=saved.name,
        file=saved.file,
        model=row.source["model"] if row.source else row.spec["model"],
        compile=compiled,
        scale=data.get("scale"),
        one_hot=data.get("one_hot"),
        class_names=_class_names(connection, row.id),
        resumes=(saved.epoch, saved.step) if resumes else None,
    )


def _class_names(connection: Connection, job_id: str) -> list[str] | None:
    """Return the names of the classes that a finished train job found in its data, if it found any."""
    value = connection.execute(sa.select(results.c.value).where(results.c.job_id == job_id)).scalar_one_or_none()
    names: list[str] | None = value.get("class_names") if isinstance(value, dict) else None
    return names


def _wrong(pointer: str, message: str) -> BadSpec:
    return BadSpec(message, fields=(FieldError(pointer, message),))


def require(connection: Connection, source: dict[str, Any] | None) -> None:
    """Keep the checkpoint of a job that is to run again; raise `Conflict` when it was removed meanwhile."""
    if source is None:
        return
    # As in `resolve`: what is found stays until this transaction's job waits.
    connection.execute(sa.select(jobs.c.id).where(jobs.c.id == source["job"]).with_for_update(read=True))
    saved = checkpoints.find(connection, source["job"], source["checkpoint"])
    if saved is None or saved.sha256 != source["file"]["sha256"]:
        raise Conflict(
            f"The checkpoint {source['checkpoint']} of job {source['job']}, from which this job starts, was removed "
            "meanwhile: submit a new job from one that is there."
        )


def record(connection: Connection, job_id: str, source: Source) -> None:
    """Write down that a job needs its source's checkpoint, so that retention keeps it."""
    connection.execute(
        sa.insert(job_inputs).values(
            job_id=job_id,
            role="model",
            source_job_id=source.job,
            checkpoint=source.checkpoint,
            sha256=source.file.sha256,
        )
    )
