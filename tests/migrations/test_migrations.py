"""The schema goes up, down and up again, and is what the code says."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from shared import db, migrate, preflight, tables
from shared.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]


def test_the_folder_of_migrations_is_no_package():
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_the_schema_is_what_the_code_says(engine):
    with db.read(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, tables.metadata) == []


def test_up_down_and_up_again(engine, database_url):
    migrate.downgrade(database_url, "base")
    with db.read(engine) as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
        assert sa.inspect(connection).get_view_names() == []
    with pytest.raises(Misconfigured, match="has no fitq schema"):
        preflight.check(engine)

    migrate.upgrade(database_url)
    preflight.check(engine)


def test_there_is_one_head():
    command.heads(migrate.config("sqlite:///unused.db"), resolve_dependencies=True)
    from alembic.script import ScriptDirectory

    assert len(ScriptDirectory.from_config(migrate.config("sqlite:///unused.db")).get_heads()) == 1
