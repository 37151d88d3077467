"""The API process: `python -m api`."""

from setproctitle import setproctitle

from api import serve
from shared import db, log, preflight, settings, store
from shared.settings import Settings


def main() -> None:
    """Serve until SIGTERM."""
    setproctitle(serve.TITLE)
    config = settings.load()
    log.configure(config, "api")
    _check_database(config)
    store.prepare(config.volume_path)
    serve.serve(config)


def _check_database(config: Settings) -> None:
    engine = db.connect(config.database_url)
    try:
        preflight.check(engine)
    finally:
        # What was opened here must not go through gunicorn's fork.
        engine.dispose()


if __name__ == "__main__":
    preflight.exit_with_reason("fitq api", main)
