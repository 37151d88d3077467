"""What people ask of a job: its end, a pause, a checkpoint, another try, more epochs, its deletion.

A wish is a column. A waiting job follows it here and now; a running one when its supervisor has seen it, which asks
once each second.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from shared import checkpoints, events, jobs, lineage, states, uploads
from shared import spec as specs
from shared.checkpoints import Saved
from shared.clock import now, unix_now
from shared.errors import BadSpec, Conflict, FieldError, NotFound
from shared.jobs import Submitted
from shared.states import CancelMode, Kind, Lane, State
from shared.tables import artifacts, epoch_metrics
from shared.tables import checkpoints as checkpoint_rows
from shared.tables import jobs as _table


def cancel(connection: Connection, job_id: str, mode: CancelMode) -> State:
    """Ask for a job's end: a waiting one ends here, a running one when its process is gone.

    Return the state now. Asking again is harmless; `now` after `after_epoch` is the stronger wish.
    Raise `Conflict` when the job has ended otherwise.
    """
    state = _locked(connection, job_id).state
    if state == State.CANCELLED:
        return State.CANCELLED
    if state in states.TERMINAL:
        raise Conflict(f"Job {job_id} is {state}; there is nothing to cancel.")
    stronger = sa.case((_table.c.cancel_mode == CancelMode.NOW, CancelMode.NOW), else_=mode)
    asked = {"cancel_mode": stronger, "cancel_requested_at": sa.func.coalesce(_table.c.cancel_requested_at, now())}
    if state == State.QUEUED:
        jobs.change(connection, job_id, State.QUEUED, State.CANCELLED, finished_at=now(), held=False, **asked)
        events.append(connection, job_id, [("state", {"state": State.CANCELLED})])
        return State.CANCELLED
    stands = _wish(connection, job_id, _table.c.cancel_mode, **asked)
    events.append(connection, job_id, [("cancel_requested", {"mode": stands})])
    return State.RUNNING


def pause(connection: Connection, job_id: str) -> State:
    """Hold a job back: a waiting one is not claimed, a running one checkpoints and waits. Asking again is harmless.

    Return the state now. Raise `Conflict` when the job has ended.
    """
    row = _locked(connection, job_id)
    if row.state in states.TERMINAL:
        raise Conflict(f"Job {job_id} is {row.state}; there is nothing to pause.")
    if not row.held:
        _wish(connection, job_id, _table.c.state, held=True)
        events.append(connection, job_id, [("paused" if row.state == State.QUEUED else "pause_requested", {})])
    return State(row.state)


def go_on(connection: Connection, job_id: str) -> Lane:
    """Let a paused job wait for a worker again; return its lane. Raise `Conflict` when it is not paused."""
    row = _locked(connection, job_id)
    if not row.held:
        raise Conflict(f"Job {job_id} is {row.state}, and not paused: it goes on by itself.")
    _wish(connection, job_id, _table.c.state, held=False)
    events.append(connection, job_id, [("unpaused", {})])
    return Lane(row.lane)


def save(connection: Connection, job_id: str) -> None:
    """Ask a running train job for a checkpoint after its next step. Raise `Conflict` when it does not run."""
    row = _locked(connection, job_id)
    if row.kind != Kind.TRAIN or row.state != State.RUNNING:
        raise Conflict(f"Job {job_id} is a {row.kind} job and {row.state}: only a running train job saves checkpoints.")
    asked = _wish(connection, job_id, _table.c.saves_asked, saves_asked=_table.c.saves_asked + 1)
    events.append(connection, job_id, [("checkpoint_requested", {"number": asked})])


def retry(connection: Connection, job_id: str) -> Lane:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint. Return its lane."""
    row = _undeleted(connection, job_id)
    if row.state not in {State.FAILED, State.CANCELLED}:
        raise Conflict(f"Job {job_id} is {row.state}: only a failed or cancelled job can be retried.")
    uploads.require(connection, job_id)
    lineage.require(connection, row.source)
    jobs.change(
        connection,
        job_id,
        State(row.state),
        State.QUEUED,
        failures=0,
        run_s=0.0,
        held=False,
        cancel_mode=None,
        cancel_requested_at=None,
        finished_at=None,
        error_code=None,
        error_message=None,
        queued_at=now(),
        available_at=now(),
        rank=unix_now() - jobs.PRIORITY_S * _table.c.priority,
    )
    events.append(connection, job_id, [("state", {"state": State.QUEUED, "retry": True})])
    return Lane(row.lane)


def resume(connection: Connection, job_id: str, *, epochs: int | None, name: str | None = None) -> Submitted:
    """Store a new job that trains on where an ended train job stopped, to `epochs` in all.

    It begins with the newest checkpoint: weights, optimizer, callbacks' states, random state and history go on as if
    the job had never ended, on the numerics that it was pinned to. `epochs` defaults to the job's own. Raise `BadSpec`
    when there is nothing left to train, `Conflict` while the job has not ended or has no checkpoint.
    """
    row = _undeleted(connection, job_id)
    if row.kind != Kind.TRAIN or row.state not in states.TERMINAL:
        raise Conflict(f"Job {job_id} is a {row.kind} job and {row.state}: only a train job that has ended is resumed.")
    saved = next((one for one in checkpoints.listed(connection, job_id) if one.name != "final"), None)
    if saved is None:
        raise Conflict(f"Job {job_id} has no checkpoint to go on from; submit it anew.")
    spec = _longer(row, saved, epochs, name)
    submitted = jobs.submit(connection, spec, source=lineage.source_of(connection, row, saved, resumes=True))
    inherited = {"parent_id": job_id, "numerics": row.numerics}
    connection.execute(sa.update(_table).where(_table.c.id == submitted.job_id).values(**inherited))
    _inherit_history(connection, job_id, submitted.job_id, saved.epoch)
    return submitted


def _longer(row: Any, saved: Saved, epochs: int | None, name: str | None) -> specs.Spec:
    epochs = epochs or row.spec["fit"]["epochs"]
    if epochs <= saved.epoch:
        message = f"Job {row.id} has trained {saved.epoch} epochs; give a greater number of epochs to go on to."
        raise BadSpec(message, fields=(FieldError("/epochs", message),))
    checkpoint = saved.epoch - 1 if saved.name.startswith("epoch-") else "last"
    model = {"job": row.id, "checkpoint": checkpoint}
    fit = {**row.spec["fit"], "epochs": epochs}
    return specs.parse(row.spec | {"model": model, "fit": fit, "seed": row.seed} | ({"name": name} if name else {}))


def _inherit_history(connection: Connection, parent: str, child: str, epochs: int) -> None:
    """Copy the metrics of the epochs that are done: the history of the new job has all of them."""
    copied = [column for column in epoch_metrics.c if column.name != "job_id"]
    done = sa.select(sa.literal(child), *copied).where(epoch_metrics.c.job_id == parent, epoch_metrics.c.epoch < epochs)
    names = ["job_id", *(column.name for column in copied)]
    connection.execute(sa.insert(epoch_metrics).from_select(names, done))


def delete(connection: Connection, job_id: str) -> None:
    """Make a job that has ended a tombstone: its files may go after the commit, its history stays in SQL.

    Raise `Conflict` while it has not ended, or while a job that has not ended needs one of its checkpoints.
    """
    row = _locked(connection, job_id)
    if row.state not in states.TERMINAL:
        raise Conflict(f"Job {job_id} is {row.state}: cancel it first.")
    if needing := checkpoints.needed_by(connection, job_id):
        raise Conflict(f"Job {job_id} is needed by {needing[0]}, which has not ended.")
    if row.deleted_at is not None:
        return
    for table in (checkpoint_rows, artifacts):
        connection.execute(sa.delete(table).where(table.c.job_id == job_id))
    _wish(connection, job_id, _table.c.state, deleted_at=now())
    events.append(connection, job_id, [("deleted", {})])


def _wish(connection: Connection, job_id: str, told: sa.ColumnElement[Any], **values: Any) -> Any:
    """Write a wish into the job's row, which the caller has locked; return the column `told` as it stands then."""
    change = sa.update(_table).where(_table.c.id == job_id).values(version=_table.c.version + 1, **values)
    return connection.execute(change.returning(told)).scalar_one()


def _locked(connection: Connection, job_id: str) -> Any:
    """Return the job's row, and keep others from it. Raise `NotFound`."""
    row = connection.execute(sa.select(_table).where(_table.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return row


def _undeleted(connection: Connection, job_id: str) -> Any:
    """Return the job's row, locked. Raise `Conflict` when its files were deleted."""
    row = _locked(connection, job_id)
    if row.deleted_at is not None:
        raise Conflict(f"The files of job {job_id} were deleted: there is nothing to go on from.")
    return row
