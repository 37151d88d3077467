"""Uploads, and which job needs which of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _say_of_role(now: str, before: str) -> None:
    # SQLite keeps no comments, and would copy the whole table for one.
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("job_inputs", "role", comment=now, existing_comment=before)


def upgrade() -> None:
    """Expand."""
    op.create_table(
        "uploads",
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the whole content; its name everywhere"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="of the whole content"),
        sa.Column("received", sa.BigInteger(), nullable=False, comment="bytes that had arrived when a request ended"),
        sa.Column("name", sa.String(length=200), nullable=True, comment="what the file was called where it came from"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="first asked for"),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), nullable=False, comment="last asked for, added to or named by a job"
        ),
        sa.Column(
            "complete_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="all of it is on the volume, and its SHA-256 was verified",
        ),
        sa.CheckConstraint("bytes > 0 AND received BETWEEN 0 AND bytes", name=op.f("ck_uploads_received")),
        sa.CheckConstraint("complete_at IS NULL OR received = bytes", name=op.f("ck_uploads_complete")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_created", "uploads", ["created_at", "sha256"])
    op.create_index("ix_uploads_seen", "uploads", ["seen_at"])
    op.add_column(
        "job_inputs",
        sa.Column("pointer", sa.String(length=1000), nullable=True, comment="the field that names it: a JSON pointer"),
    )
    op.create_index("ix_job_inputs_sha256", "job_inputs", ["sha256"])
    _say_of_role("model, or upload-<n> from 0", "model")


def downgrade() -> None:
    """Take it back."""
    _say_of_role("model", "model, or upload-<n> from 0")
    op.drop_index("ix_job_inputs_sha256", table_name="job_inputs")
    op.execute(sa.text("DELETE FROM job_inputs WHERE source_job_id IS NULL"))
    op.drop_column("job_inputs", "pointer")
    op.drop_table("uploads")
