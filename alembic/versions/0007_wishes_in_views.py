"""What was asked of jobs, in the views: paused, deleted, and which job goes on with whose training."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

#: For each view its last column so far and the beginning of its FROM, in the words of either database; and its new
#: last columns: what they select, and what they hold.
COLUMNS = {
    "v_jobs": (
        r"AS model_checkpoint",
        r"FROM \(?jobs (?:AS )?j\s+LEFT JOIN job_inputs",
        {
            "paused": ("j.held", "whether it is held back until somebody resumes it"),
            "parent_job_id": ("j.parent_id", "the ended job whose training it goes on with"),
            "deleted_at": ("j.deleted_at", "when its files were deleted (UTC); the history stays"),
        },
    ),
    "v_lineage": (
        r"i\.sha256",
        r"FROM \(?job_inputs (?:AS )?i\s+JOIN jobs",
        {
            "resumes": (
                "coalesce(j.parent_id = i.source_job_id, false)",
                "whether its training goes on where the other job's stopped, optimizer and history included",
            ),
        },
    ),
}


def _query(view: str) -> str:
    """Return what a view selects, as the database keeps it."""
    definition = sa.inspect(op.get_bind()).get_view_definition(view) or ""
    return re.sub(r"^\s*CREATE VIEW \w+ AS", "", definition, flags=re.IGNORECASE).strip().rstrip(";")


def _comments(view: str) -> dict[str, str]:
    """Return the comments on a view and its columns, by what they are on; SQLite keeps none."""
    looked = sa.inspect(op.get_bind())
    if looked.dialect.name != "postgresql":
        return {}
    on_columns = {f"COLUMN {view}.{column['name']}": column["comment"] for column in looked.get_columns(view)}
    return {f"VIEW {view}": looked.get_table_comment(view)["text"], **on_columns}


def _comment(comments: dict[str, str]) -> None:
    for what, said in comments.items():
        quoted = said.replace("'", "''")
        op.execute(f"COMMENT ON {what} IS '{quoted}'")


def _run(statement: str) -> None:
    # A colon would begin a parameter.
    op.execute(statement.replace(":", "\\:"))


def upgrade() -> None:
    """Expand: the new columns stand behind those there are."""
    for view, (last, begin, columns) in COLUMNS.items():
        added = "".join(f", {selected} AS {name}" for name, (selected, _) in columns.items())
        query = re.sub(rf"({last})\s+({begin})", rf"\1{added} \2", _query(view))
        if op.get_bind().dialect.name == "postgresql":
            # Not dropped: who was granted the view keeps it.
            _run(f"CREATE OR REPLACE VIEW {view} AS {query}")
            _comment({f"COLUMN {view}.{name}": said for name, (_, said) in columns.items()})
        else:
            op.execute(f"DROP VIEW {view}")
            _run(f"CREATE VIEW {view} AS {query}")


def downgrade() -> None:
    """Take it back."""
    for view, (last, begin, columns) in COLUMNS.items():
        gone = {f"COLUMN {view}.{name}" for name in columns}
        comments = {what: said for what, said in _comments(view).items() if what not in gone}
        query = re.sub(rf"({last}),.*?\s+({begin})", r"\1 \2", _query(view), flags=re.DOTALL)
        op.execute(f"DROP VIEW {view}")
        _run(f"CREATE VIEW {view} AS {query}")
        _comment(comments)
