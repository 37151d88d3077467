"""Bring the database to the schema of this version: Alembic, run from the application's tree."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_TREE = Path(__file__).resolve().parent.parent


def config(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    settings = Config()
    settings.set_main_option("script_location", str(_TREE / "alembic").replace("%", "%%"))
    settings.attributes["url"] = url
    return settings


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate upwards."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate downwards."""
    command.downgrade(config(url), revision)


def revisions() -> list[str]:
    """Return the revisions that this version of the code knows, the first one first."""
    script = ScriptDirectory.from_config(config("sqlite://"))
    return [one.revision for one in reversed(list(script.walk_revisions()))]


if __name__ == "__main__":
    from shared import settings

    upgrade(settings.load().database_url)
