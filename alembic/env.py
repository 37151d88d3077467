"""How Alembic reaches the database: the URL of `shared.migrate`, or of the settings."""

import sqlalchemy as sa
from alembic import context

from shared import db, settings, tables

#: One number for all of fitq: two migrations of one PostgreSQL database wait for each other.
ADVISORY_LOCK = 0x66697471  # "fitq"


def run() -> None:
    """Migrate inside one transaction; nothing is half done."""
    url = context.config.attributes.get("url") or settings.load().database_url
    engine = db.connect(url)
    try:
        with engine.connect() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


def _migrate(connection: sa.Connection) -> None:
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
            # An index on a large table takes its time.
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        context.configure(
            connection=connection,
            target_metadata=tables.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            transactional_ddl=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
