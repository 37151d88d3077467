"""Indexes for lists that are narrowed to a lane, or to when jobs were submitted."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_jobs_lane", "jobs", ["lane", "id"])
    op.create_index("ix_jobs_created", "jobs", ["created_at", "id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_jobs_created", table_name="jobs")
    op.drop_index("ix_jobs_lane", table_name="jobs")
