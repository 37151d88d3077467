"""The WSGI server: gunicorn in this program, one process with many threads."""

from typing import Any

from flask import Flask
from gunicorn import glogging
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers import gthread
from setproctitle import setproctitle

from api import context
from api.app import create_app
from shared import log
from shared.settings import Settings

TITLE = "fitq api"
#: Seconds that requests may take to end once the server is asked to; streams and waits end at once.
GRACE_S = 2
#: Seconds that an idle connection stays open for its client's next request.
KEEPALIVE_S = 15
#: Seconds without a sign of life after which the serving process is replaced.
SILENCE_S = 120

#: Seconds that a stopping server keeps idle connections open, for requests that are on their way.
gthread.STOP_KEEPALIVE_LINGER = 0.3

_log = log.get(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    _Server(settings).run()


class _Worker(gthread.ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's threaded worker, which tells long requests when it ends."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._stop()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        self._stop()
        super().handle_quit(sig, frame)

    def is_parent_alive(self) -> bool:
        alive = bool(super().is_parent_alive())
        if not alive:
            self._stop()
        return alive

    def _stop(self) -> None:
        if isinstance(self.wsgi, Flask):
            context.of(self.wsgi).stopping.set()


class _Logger(glogging.Logger):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's messages in the format of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Arbiter(Arbiter):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's main loop, under our name."""

    def manage_workers(self) -> None:
        setproctitle(TITLE)
        super().manage_workers()


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        chosen = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "worker_class": _Worker,
            "workers": 1,
            "threads": context.THREADS,
            "graceful_timeout": GRACE_S,
            "keepalive": KEEPALIVE_S,
            "timeout": SILENCE_S,
            "logger_class": _Logger,
            "loglevel": "warning",
            "control_socket_disable": True,
            "when_ready": _when_ready,
            "post_fork": _post_fork,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self._settings)

    def run(self) -> None:
        _Arbiter(self).run()


def _when_ready(server: Any) -> None:
    _log.info("listening", address=", ".join(str(listener) for listener in server.LISTENERS))


def _post_fork(_server: Any, _worker: Any) -> None:
    setproctitle(TITLE)
