"""Bring the database to the schema of this version: Alembic, run from the application's tree."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from shared import db
from shared.errors import Misconfigured

_TREE = Path(__file__).resolve().parent.parent


def config(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    settings = Config()
    settings.set_main_option("script_location", str(_TREE / "alembic"))
    settings.attributes["url"] = url
    return settings


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate upwards."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate downwards."""
    command.downgrade(config(url), revision)


def check(engine: Engine, url: str) -> None:
    """Raise `Misconfigured` unless the database has exactly this version's schema."""
    wanted = ScriptDirectory.from_config(config(url)).get_current_head()
    with db.read(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        what = "has no fitq schema" if found is None else f"is at revision {found}, this version needs {wanted}"
        raise Misconfigured(f"The database {what}. Run: python -m shared.migrate")


if __name__ == "__main__":
    from shared import settings

    upgrade(settings.load().database_url)
