"""The tables of a job's life, and the views for analysts."""

import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


#: In the order in which they can be dropped.
TABLES = (
    "results",
    "job_tags",
    "job_inputs",
    "job_events",
    "epoch_metrics",
    "checkpoints",
    "attempts",
    "artifacts",
    "workers",
    "jobs",
)

#: What analysts may rely on. `{a..b}` stands for the seconds from a to b.
VIEWS = {
    "v_jobs": """
        SELECT j.id AS job_id, j.kind, j.name, j.state, j.lane, j.priority, j.seed, j.attempt AS attempts, j.worker,
               j.error_code, j.error_message, j.created_at, j.queued_at, j.started_at, j.finished_at,
               {j.created_at..j.started_at} AS wait_s,
               {j.started_at..j.finished_at} AS elapsed_s,
               j.run_s
        FROM jobs AS j WHERE j.kind <> 'check'
    """,
    "v_attempts": """
        SELECT a.job_id, a.attempt, a.worker, a.host, a.started_at, a.running_at, a.ended_at, a.outcome, a.error_code,
               a.error_message, a.resumed_epoch,
               {a.started_at..a.running_at} AS start_s,
               {a.running_at..a.ended_at} AS run_s
        FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id WHERE j.kind <> 'check'
    """,
    "v_epoch_metrics": """
        SELECT m.job_id, m.epoch, m.name, m.value, m.value_kind, m.attempt, m.recorded_at FROM epoch_metrics AS m
    """,
    "v_results": """
        SELECT r.job_id, j.kind, r.attempt, r.value, r.weights_sha256, r.final_checkpoint, r.created_at
        FROM results AS r JOIN jobs AS j ON j.id = r.job_id WHERE j.kind <> 'check'
    """,
    "v_job_tags": "SELECT t.job_id, t.key, t.value FROM job_tags AS t",
}


def _seconds(match: re.Match[str]) -> str:
    start, end = match.groups()
    if op.get_bind().dialect.name == "postgresql":
        return f"CAST(extract(epoch from ({end} - {start})) AS double precision)"
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


def _create_views() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {re.sub(r'{([^.]+[.][^.]+)[.][.]([^}]+)}', _seconds, query)}")


def upgrade() -> None:
    """Expand."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False, comment="job_<uuid7>; sorts by the time of submission"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="train, evaluate, predict; check is internal"),
        sa.Column("name", sa.String(length=200), nullable=True, comment="what the submitter calls it"),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="queued, running, succeeded, failed or cancelled"
        ),
        sa.Column("spec", JSON, nullable=False, comment="the frozen job spec (docs/job-spec.md)"),
        sa.Column(
            "spec_version",
            sa.Integer(),
            nullable=False,
            comment="of the spec's contract; a worker claims what it knows",
        ),
        sa.Column(
            "source",
            JSON,
            nullable=True,
            comment="the source model, resolved and pinned at submit: job, checkpoint, sha256",
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="seeds weights, data order and random layers"),
        sa.Column("lane", sa.String(length=16), nullable=False, comment="where it waits: cpu, gpu or interactive"),
        sa.Column(
            "priority", sa.Integer(), nullable=False, comment="-100 to 100; one point is worth ten minutes of waiting"
        ),
        sa.Column(
            "rank",
            sa.Float(precision=53),
            nullable=False,
            comment="epoch(queued_at) - 600 * priority; the lowest runs first",
        ),
        sa.Column("memory_mb", sa.Integer(), nullable=False, comment="memory that the job asks for, MiB"),
        sa.Column(
            "retries",
            sa.Integer(),
            nullable=False,
            comment="machine faults in a row without a new checkpoint to live with",
        ),
        sa.Column("failures", sa.Integer(), nullable=False, comment="machine faults in a row so far"),
        sa.Column(
            "furthest_step", sa.BigInteger(), nullable=False, comment="training steps of the furthest checkpoint"
        ),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="the number of the last attempt: the fencing token"),
        sa.Column(
            "reported",
            sa.BigInteger(),
            nullable=False,
            comment="batches that the attempt has written; makes a repeated write harmless",
        ),
        sa.Column("event_seq", sa.BigInteger(), nullable=False, comment="the number of the job's last event"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="grows with every change; the HTTP ETag"),
        sa.Column("worker", sa.String(length=200), nullable=True, comment="the worker that runs it, or ran it last"),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="until then the attempt owns the job",
        ),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="not claimed before: backoff",
        ),
        sa.Column(
            "cancel_mode",
            sa.String(length=16),
            nullable=True,
            comment="after_epoch or now, when a cancel was asked for",
        ),
        sa.Column(
            "cancel_requested_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the cancel was asked for",
        ),
        sa.Column(
            "progress",
            JSON,
            nullable=True,
            comment="phase, epoch, step and running metrics, as last reported",
        ),
        sa.Column(
            "numerics",
            JSON,
            nullable=True,
            comment="what fixes the last bits of the result; set by the first attempt",
        ),
        sa.Column("run_s", sa.Float(precision=53), nullable=False, comment="seconds that ended attempts ran"),
        sa.Column("error_code", sa.String(length=32), nullable=True, comment="the failure class"),
        sa.Column("error_message", sa.Text(), nullable=True, comment="a sentence that a person can act on"),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True, comment="the submitter's Idempotency-Key"),
        sa.Column(
            "fingerprint",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of the submitted body, compared when the key comes again",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="submitted"),
        sa.Column(
            "queued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="waiting since; retry by hand sets it anew",
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True, comment="first attempt claimed"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="came to a terminal state"),
        sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_jobs_error")),
        sa.CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_jobs_lease")),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name=op.f("ck_jobs_finished")
        ),
        sa.CheckConstraint("kind IN ('train', 'evaluate', 'predict', 'check')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("lane IN ('cpu', 'gpu', 'interactive')", name=op.f("ck_jobs_lane")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_jobs_state")
        ),
        sa.CheckConstraint("priority BETWEEN -100 AND 100", name=op.f("ck_jobs_priority")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["lane", "rank", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("ix_jobs_kind", "jobs", ["kind", "id"], unique=False)
    op.create_index("ix_jobs_name", "jobs", ["name", "id"], unique=False)
    op.create_index(
        "ix_jobs_running",
        "jobs",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "id"], unique=False)
    op.create_index("uq_jobs_idempotency_key", "jobs", ["idempotency_key"], unique=True)

    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=200), nullable=False, comment="unique to one start of one worker process"),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("lanes", JSON, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False, comment="jobs at a time, beside one interactive"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="warming, ready, draining or gone"),
        sa.Column("free_memory_mb", sa.Integer(), nullable=False, comment="MiB, at the last beat"),
        sa.Column("version", sa.String(length=32), nullable=False, comment="of fitq"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="the last beat"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=500), nullable=False, comment="below the volume"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_artifacts")),
    )
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="from 1"),
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="claimed"),
        sa.Column(
            "running_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the job's own code began to run",
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.String(length=16),
            nullable=True,
            comment="succeeded, failed, cancelled or released; an expired lease is failed",
        ),
        sa.Column("error_code", sa.String(length=32), nullable=True, comment="the failure class"),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "resumed_epoch",
            sa.Integer(),
            nullable=True,
            comment="the first epoch that it ran; NULL when it began afresh",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False, comment="epoch-<n>, step-<n> or final"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="the attempt that wrote it"),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="epochs that were complete when it was written"),
        sa.Column(
            "step", sa.BigInteger(), nullable=False, comment="training steps that were complete when it was written"
        ),
        sa.Column("path", sa.String(length=500), nullable=False, comment="below the volume"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the file"),
        sa.Column(
            "weights_sha256",
            sa.String(length=64),
            nullable=False,
            comment="of the model's variables: path, dtype, shape, bytes",
        ),
        sa.Column("monitor", sa.String(length=200), nullable=True, comment="the metric by which the best is chosen"),
        sa.Column(
            "value",
            sa.Float(precision=53),
            nullable=True,
            comment="the monitored metric after this epoch; NULL when not finite or not there",
        ),
        sa.Column("is_best", sa.Boolean(), nullable=False, comment="the best by the monitored metric so far"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_checkpoints_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_checkpoints")),
    )
    op.create_index("ix_checkpoints_step", "checkpoints", ["job_id", "step"], unique=False)

    op.create_table(
        "epoch_metrics",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="from 0"),
        sa.Column(
            "name", sa.String(length=200), nullable=False, comment="as in Keras's History: loss, accuracy, val_loss ..."
        ),
        sa.Column("value", sa.Float(precision=53), nullable=True, comment="NULL when it is not finite: see value_kind"),
        sa.Column("value_kind", sa.String(length=8), nullable=False, comment="finite, nan, +inf or -inf"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="the attempt that computed it"),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it reached the database",
        ),
        sa.CheckConstraint("(value IS NOT NULL) = (value_kind = 'finite')", name=op.f("ck_epoch_metrics_value")),
        sa.CheckConstraint("value_kind IN ('finite', 'nan', '+inf', '-inf')", name=op.f("ck_epoch_metrics_value_kind")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_epoch_metrics_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "epoch", "name", name=op.f("pk_epoch_metrics")),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="from 1 in each job, without gaps; Last-Event-ID"),
        sa.Column(
            "type",
            sa.String(length=32),
            nullable=False,
            comment="state, epoch, checkpoint, resumed or cancel_requested",
        ),
        sa.Column("data", JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_events")),
    )
    op.create_table(
        "job_inputs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False, comment="model"),
        sa.Column("source_job_id", sa.String(length=40), nullable=True, comment="the job whose result is used"),
        sa.Column("checkpoint", sa.String(length=64), nullable=True, comment="the name of the source job's checkpoint"),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the content that was pinned at submit"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_inputs_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["source_job_id"], ["jobs.id"], name=op.f("fk_job_inputs_source_job_id")),
        sa.PrimaryKeyConstraint("job_id", "role", name=op.f("pk_job_inputs")),
    )
    op.create_index("ix_job_inputs_source", "job_inputs", ["source_job_id", "checkpoint"], unique=False)

    op.create_table(
        "job_tags",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_tags_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_tags")),
    )
    op.create_index("ix_job_tags_key", "job_tags", ["key", "value"], unique=False)

    op.create_table(
        "results",
        sa.Column("job_id", sa.String(length=40), nullable=False, comment="a second result is impossible"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column(
            "value",
            JSON,
            nullable=False,
            comment="metrics of evaluate, predictions of predict, summary of train",
        ),
        sa.Column(
            "weights_sha256", sa.String(length=64), nullable=True, comment="of the final model's variables (train)"
        ),
        sa.Column(
            "final_checkpoint",
            sa.String(length=64),
            nullable=True,
            comment="the name of the checkpoint that holds what fit leaves in the model",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_results")),
    )
    _create_views()


def downgrade() -> None:
    """Take it back."""
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for table in TABLES:
        op.drop_table(table)
