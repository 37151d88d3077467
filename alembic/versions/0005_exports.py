"""A kind of internal jobs that write models in other formats; no view tells of them."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = "kind IN ('train', 'evaluate', 'predict', 'check')"
NOW = "kind IN ('train', 'evaluate', 'predict', 'check', 'export')"
KIND = "train, evaluate, predict; check is internal", "train, evaluate, predict; check and export are internal"
#: What leaves internal jobs out of a view, in the words of either database.
CHECKS = re.compile(r"<> 'check'(?:::text)?")
INTERNAL = re.compile(r"<> ALL \(ARRAY\['check'::text, 'export'::text\]\)|NOT IN \('check', 'export'\)")


def _allow(kinds: str, before: str, comments: tuple[str, str]) -> None:
    """Exchange the CHECK on the kinds.

    SQLite would copy the whole table, and the views that stand on it would be in the way. Its documentation
    tells how to change a constraint that all rows meet anyway: in the text of the schema.
    """
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
        op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", kinds)
        op.alter_column("jobs", "kind", comment=comments[1], existing_comment=comments[0])
        return
    version = bind.execute(sa.text("PRAGMA schema_version")).scalar_one()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    changed = sa.text(
        "UPDATE sqlite_master SET sql = replace(sql, :before, :now) WHERE type = 'table' AND name = 'jobs'"
    )
    bind.execute(changed, {"before": before, "now": kinds})
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = OFF"))


def _views(old: re.Pattern[str], new: str) -> None:
    """Write each view that names internal kinds anew: the same columns, comments and privileges, another filter."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        query = (
            "SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema() AND viewname LIKE 'v\\_%'"
        )
        for name, text in bind.execute(sa.text(query)).all():
            if old.search(text):
                op.execute(f"CREATE OR REPLACE VIEW {name} AS {old.sub(new, text)}".replace(":", "\\:"))
        return
    views = bind.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view'")).all()
    for name, text in views:
        if old.search(text):
            op.execute(f"DROP VIEW {name}")
            op.execute(old.sub(new, text).replace(":", "\\:"))


def upgrade() -> None:
    """Expand."""
    _allow(NOW, BEFORE, KIND)
    _views(CHECKS, "NOT IN ('check', 'export')")


def downgrade() -> None:
    """Take it back. What was exported is exported again when somebody asks."""
    op.execute("DELETE FROM jobs WHERE kind = 'export'")
    _views(INTERNAL, "<> 'check'")
    _allow(BEFORE, NOW, KIND[::-1])
