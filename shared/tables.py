"""The tables. Only `shared` reads or writes them; analysts read the views (alembic/versions)."""

from sqlalchemy import (
    JSON as _JSON,
)
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy import false as sa_false
from sqlalchemy.dialects.postgresql import JSONB

from shared.clock import UTCDateTime
from shared.states import Kind, Lane, State, ValueKind

#: A JSON column in which Python's None is SQL's NULL.
JSON = _JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, words: type) -> CheckConstraint:
    """Return a CHECK that a column holds one of an enumeration's words."""
    quoted = ", ".join(f"'{word}'" for word in words)  # type: ignore[attr-defined]
    return CheckConstraint(f"{column} IN ({quoted})", name=column)


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True, comment="job_<uuid7>; sorts by the time of submission"),
    Column("kind", String(16), nullable=False, comment="train, evaluate, predict; check and export are internal"),
    Column("name", String(200), comment="what the submitter calls it"),
    Column("state", String(16), nullable=False, comment="queued, running, succeeded, failed or cancelled"),
    Column("spec", JSON, nullable=False, comment="the frozen job spec (docs/job-spec.md)"),
    Column("spec_version", Integer, nullable=False, comment="of the spec's contract; a worker claims what it knows"),
    Column("source", JSON, comment="the source model, resolved and pinned at submit: job, checkpoint, sha256"),
    Column("seed", BigInteger, nullable=False, comment="seeds weights, data order and random layers"),
    Column("lane", String(16), nullable=False, comment="where it waits: cpu, gpu or interactive"),
    Column("priority", Integer, nullable=False, comment="-100 to 100; one point is worth ten minutes of waiting"),
    Column("rank", Float(53), nullable=False, comment="epoch(queued_at) - 600 * priority; the lowest runs first"),
    Column("memory_mb", Integer, nullable=False, comment="memory that the job asks for, MiB"),
    Column("retries", Integer, nullable=False, comment="machine faults in a row without a new checkpoint to live with"),
    Column("failures", Integer, nullable=False, default=0, comment="machine faults in a row so far"),
    Column("furthest_step", BigInteger, nullable=False, default=0, comment="training steps of the furthest checkpoint"),
    Column("attempt", Integer, nullable=False, default=0, comment="the number of the last attempt: the fencing token"),
    Column(
        "reported",
        BigInteger,
        nullable=False,
        default=0,
        comment="batches that the attempt has written; makes a repeated write harmless",
    ),
    Column("event_seq", BigInteger, nullable=False, default=0, comment="the number of the job's last event"),
    Column("version", BigInteger, nullable=False, default=1, comment="grows with every change; the HTTP ETag"),
    Column("worker", String(200), comment="the worker that runs it, or ran it last"),
    Column("lease_until", UTCDateTime, comment="until then the attempt owns the job"),
    Column("available_at", UTCDateTime, nullable=False, comment="not claimed before: backoff"),
    Column("cancel_mode", String(16), comment="after_epoch or now, when a cancel was asked for"),
    Column("cancel_requested_at", UTCDateTime, comment="when the cancel was asked for"),
    Column(
        "held",
        Boolean,
        nullable=False,
        default=False,
        server_default=sa_false(),
        comment="paused: not claimed while it waits; a running attempt is asked to give it back",
    ),
    Column(
        "saves_asked",
        Integer,
        nullable=False,
        default=0,
        server_default="0",
        comment="checkpoints that were asked for between the regular ones",
    ),
    Column("parent_id", String(40), comment="the job whose training it goes on with"),
    Column("deleted_at", UTCDateTime, comment="its files were deleted; the row stays as a tombstone"),
    Column("progress", JSON, comment="phase, epoch, step and running metrics, as last reported"),
    Column("numerics", JSON, comment="what fixes the last bits of the result; set by the first attempt"),
    Column("run_s", Float(53), nullable=False, default=0.0, comment="seconds that ended attempts ran"),
    Column("error_code", String(32), comment="the failure class"),
    Column("error_message", Text, comment="a sentence that a person can act on"),
    Column("idempotency_key", String(255), comment="the submitter's Idempotency-Key"),
    Column("fingerprint", String(64), comment="SHA-256 of the submitted body, compared when the key comes again"),
    Column("created_at", UTCDateTime, nullable=False, comment="submitted"),
    Column("queued_at", UTCDateTime, nullable=False, comment="waiting since; retry by hand sets it anew"),
    Column("started_at", UTCDateTime, comment="first attempt claimed"),
    Column("finished_at", UTCDateTime, comment="came to a terminal state"),
    _one_of("kind", Kind),
    _one_of("state", State),
    _one_of("lane", Lane),
    CheckConstraint("priority BETWEEN -100 AND 100", name="priority"),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
    CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    CheckConstraint("(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
)
Index(
    "ix_jobs_claim",
    jobs.c.lane,
    jobs.c.rank,
    jobs.c.id,
    sqlite_where=jobs.c.state == "queued",
    postgresql_where=jobs.c.state == "queued",
)
Index(
    "ix_jobs_running",
    jobs.c.lease_until,
    sqlite_where=jobs.c.state == "running",
    postgresql_where=jobs.c.state == "running",
)
Index("ix_jobs_state", jobs.c.state, jobs.c.id)
Index("ix_jobs_kind", jobs.c.kind, jobs.c.id)
Index("ix_jobs_name", jobs.c.name, jobs.c.id)
Index("ix_jobs_lane", jobs.c.lane, jobs.c.id)
Index("ix_jobs_created", jobs.c.created_at, jobs.c.id)
Index("uq_jobs_idempotency_key", jobs.c.idempotency_key, unique=True)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True, comment="from 1"),
    Column("worker", String(200), nullable=False),
    Column("host", String(200), nullable=False),
    Column("started_at", UTCDateTime, nullable=False, comment="claimed"),
    Column("running_at", UTCDateTime, comment="the job's own code began to run"),
    Column("ended_at", UTCDateTime),
    Column("outcome", String(16), comment="succeeded, failed, cancelled or released; an expired lease is failed"),
    Column("error_code", String(32), comment="the failure class"),
    Column("error_message", Text),
    Column("resumed_epoch", Integer, comment="the first epoch that it ran; NULL when it began afresh"),
)

epoch_metrics = Table(
    "epoch_metrics",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, comment="from 0"),
    Column("name", String(200), primary_key=True, comment="as in Keras's History: loss, accuracy, val_loss ..."),
    Column("value", Float(53), comment="NULL when it is not finite: see value_kind"),
    Column("value_kind", String(8), nullable=False, comment="finite, nan, +inf or -inf"),
    Column("attempt", Integer, nullable=False, comment="the attempt that computed it"),
    Column("recorded_at", UTCDateTime, nullable=False, comment="when it reached the database"),
    _one_of("value_kind", ValueKind),
    CheckConstraint("(value IS NOT NULL) = (value_kind = 'finite')", name="value"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True, comment="epoch-<n>, step-<n> or final"),
    Column("attempt", Integer, nullable=False, comment="the attempt that wrote it"),
    Column("epoch", Integer, nullable=False, comment="epochs that were complete when it was written"),
    Column("step", BigInteger, nullable=False, comment="training steps that were complete when it was written"),
    Column("path", String(500), nullable=False, comment="below the volume"),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, comment="of the file"),
    Column("weights_sha256", String(64), nullable=False, comment="of the model's variables: path, dtype, shape, bytes"),
    Column("monitor", String(200), comment="the metric by which the best is chosen"),
    Column("value", Float(53), comment="the monitored metric after this epoch; NULL when not finite or not there"),
    Column("is_best", Boolean, nullable=False, default=False, comment="the best by the monitored metric so far"),
    Column("created_at", UTCDateTime, nullable=False),
)
Index("ix_checkpoints_step", checkpoints.c.job_id, checkpoints.c.step)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("path", String(500), nullable=False, comment="below the volume"),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content_type", String(100), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column(
        "job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, comment="a second result is impossible"
    ),
    Column("attempt", Integer, nullable=False),
    Column("value", JSON, nullable=False, comment="metrics of evaluate, predictions of predict, summary of train"),
    Column("weights_sha256", String(64), comment="of the final model's variables (train)"),
    Column(
        "final_checkpoint", String(64), comment="the name of the checkpoint that holds what fit leaves in the model"
    ),
    Column("created_at", UTCDateTime, nullable=False),
)

job_inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(32), primary_key=True, comment="model, or upload-<n> from 0"),
    Column("source_job_id", ForeignKey("jobs.id"), comment="the job whose result is used"),
    Column("checkpoint", String(64), comment="the name of the source job's checkpoint"),
    Column("sha256", String(64), nullable=False, comment="of the content that was pinned at submit"),
    Column("pointer", String(1000), comment="the field that names it: a JSON pointer"),
    Index("ix_job_inputs_source", "source_job_id", "checkpoint"),
    Index("ix_job_inputs_sha256", "sha256"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("sha256", String(64), primary_key=True, comment="of the whole content; its name everywhere"),
    Column("bytes", BigInteger, nullable=False, comment="of the whole content"),
    Column("received", BigInteger, nullable=False, default=0, comment="bytes that had arrived when a request ended"),
    Column("name", String(200), comment="what the file was called where it came from"),
    Column("created_at", UTCDateTime, nullable=False, comment="first asked for"),
    Column("seen_at", UTCDateTime, nullable=False, comment="last asked for, added to or named by a job"),
    Column("complete_at", UTCDateTime, comment="all of it is on the volume, and its SHA-256 was verified"),
    CheckConstraint("bytes > 0 AND received BETWEEN 0 AND bytes", name="received"),
    CheckConstraint("complete_at IS NULL OR received = bytes", name="complete"),
    Index("ix_uploads_created", "created_at", "sha256"),
    Index("ix_uploads_seen", "seen_at"),
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("value", String(200), nullable=False),
    Index("ix_job_tags_key", "key", "value"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, comment="from 1 in each job, without gaps; Last-Event-ID"),
    Column("type", String(32), nullable=False, comment="state, epoch, checkpoint, resumed or cancel_requested"),
    Column("data", JSON, nullable=False),
    Column("at", UTCDateTime, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("name", String(200), primary_key=True, comment="unique to one start of one worker process"),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lanes", JSON, nullable=False),
    Column("slots", Integer, nullable=False, comment="jobs at a time, beside one interactive"),
    Column("state", String(16), nullable=False, comment="warming, ready, draining or gone"),
    Column("free_memory_mb", Integer, nullable=False, comment="MiB, at the last beat"),
    Column("version", String(32), nullable=False, comment="of fitq"),
    Column("started_at", UTCDateTime, nullable=False),
    Column("seen_at", UTCDateTime, nullable=False, comment="the last beat"),
)
