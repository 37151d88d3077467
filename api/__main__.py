"""The API process: `python -m api`."""

import sys

from setproctitle import setproctitle

from api import serve
from shared import db, log, migrate, settings
from shared.errors import Misconfigured
from shared.settings import Settings


def main() -> int:
    """Serve until SIGTERM. Return 2 when the configuration or the schema is wrong, 1 without a database."""
    setproctitle(serve.TITLE)
    try:
        config = settings.load()
        log.configure(config, "api")
        _check_schema(config)
    except Misconfigured as error:
        sys.stderr.write(f"fitq api: {error.message}\n")
        return 2
    except Exception as error:
        if not db.is_away(error):
            raise
        sys.stderr.write("fitq api: the database (FITQ_DATABASE_URL) does not answer.\n")
        return 1
    serve.serve(config)
    return 0


def _check_schema(config: Settings) -> None:
    engine = db.connect(config.database_url)
    try:
        migrate.check(engine, config.database_url)
    finally:
        # What was opened here must not go through gunicorn's fork.
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
