"""What every request can reach: settings, database, bell, and the room for requests that stay long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from flask import Flask, current_app

from shared import broker, db
from shared.errors import Unavailable
from shared.settings import Settings

#: Threads of the one API process.
THREADS = 64
#: Requests that may stay long (streams, waits, checks) at a time; the other threads answer the short ones.
LONG_REQUESTS = THREADS // 2
#: Connections to the database that are kept; under load twice as many.
POOL_SIZE = 16

_KEY = "fitq"


class Places:
    """Room for so many long requests at a time."""

    def __init__(self, most: int) -> None:
        """Start with every place free."""
        self._free = threading.BoundedSemaphore(most)

    def take(self) -> None:
        """Take a place, to be given back by `leave`. Raise `Unavailable` when there is none."""
        if not self._free.acquire(blocking=False):
            raise Unavailable("Too many streams and waiting requests are open; try again, or poll.")

    def leave(self) -> None:
        """Give a place back."""
        self._free.release()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place. Raise `Unavailable` when there is none."""
        self.take()
        try:
            yield
        finally:
            self.leave()


class Context:
    """One process's connections to everything else. Nothing is opened before the first request."""

    def __init__(self, settings: Settings) -> None:
        """Know where the database and the broker are."""
        self.settings = settings
        self.engine = db.connect(settings.database_url, pool_size=POOL_SIZE)
        self.bell = broker.Bell(broker.make_app(settings))
        self.places = Places(LONG_REQUESTS)
        #: Set when the process is asked to end: long requests end with it.
        self.stopping = threading.Event()


def attach(app: Flask, context: Context) -> None:
    """Make `context` the one that the application's requests find."""
    app.extensions[_KEY] = context


def of(app: Flask) -> Context:
    """Return an application's context."""
    return cast("Context", app.extensions[_KEY])


def current() -> Context:
    """Return the context of the request's application."""
    return of(current_app)
