"""A pause, checkpoints asked for, the job that another goes on with, and tombstones."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Name, type, comment, and what rows that are there get.
COLUMNS = (
    (
        "held",
        sa.Boolean(),
        "paused: not claimed while it waits; a running attempt is asked to give it back",
        sa.false(),
    ),
    ("saves_asked", sa.Integer(), "checkpoints that were asked for between the regular ones", sa.text("0")),
    ("parent_id", sa.String(40), "the job whose training it goes on with", None),
    ("deleted_at", sa.DateTime(timezone=True), "its files were deleted; the row stays as a tombstone", None),
)


def upgrade() -> None:
    """Expand."""
    for name, kind, comment, default in COLUMNS:
        nullable = default is None
        op.add_column("jobs", sa.Column(name, kind, nullable=nullable, server_default=default, comment=comment))


def downgrade() -> None:
    """Take it back."""
    for name, *_ in reversed(COLUMNS):
        op.drop_column("jobs", name)
