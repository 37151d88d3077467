"""The embedded stack: database, broker, API, worker and control as children of one process.

Children end with this process, however it ends. In order, they end as they depend on each other:
worker (its jobs checkpoint and go back to the queue), control, API, broker.
"""

import fcntl
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from shared import log, migrate, settings, store
from shared.errors import Misconfigured
from shared.settings import Settings
from standalone import valkey
from standalone.children import Child

#: Seconds between two looks at the children.
_TEND_S = 0.1
#: Seconds for the broker to open its socket, and for the API to answer.
_BROKER_S, _API_S = 10.0, 30.0

_log = log.get(__name__)


class Interrupted(Exception):
    """Somebody asked the stack to end (Ctrl-C or SIGTERM)."""


class Stack:
    """All of fitq on one machine, with `home` as its only place."""

    def __init__(self, config: Settings) -> None:
        """Take the home's lock. Raise `Misconfigured` when another stack runs there, or the port is taken."""
        config.home.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(config.home)
        self.config = config
        self.port = _free_port(config.host, config.port)
        self.url = f"http://{config.host}:{self.port}"
        self.children: list[Child] = []
        self._interrupts = 0

    def run(self, say: Callable[[str], None]) -> None:
        """Start everything, keep it running until Ctrl-C or SIGTERM, and end it in order."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        try:
            self._start(say)
            while True:
                for child in self.children:
                    child.tend()
                time.sleep(_TEND_S)
        except Interrupted:
            say("Ending: running jobs checkpoint and go back to the queue (Ctrl-C again kills them now).")
        finally:
            self._end()
            (self.config.home / "up.json").unlink(missing_ok=True)
        say("All ended. Nothing is lost: `fitq up` goes on from here.")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's signature
        self._interrupts += 1
        if self._interrupts == 1:
            raise Interrupted

    def _start(self, say: Callable[[str], None]) -> None:
        config = self.config
        store.prepare(config.volume_path)
        migrate.upgrade(config.database_url)
        environment = self._environment()
        for name, patience_s in (("api", 5.0), ("control", 5.0), ("worker", config.drain_s + 5)):
            module = {"api": "api", "control": "worker.control", "worker": "worker"}[name]
            command = [sys.executable, "-m", module]
            self._add(Child(name, command, environment, self._log_path(name), patience_s))
        self._wait_for_api()
        state = {
            "pid": os.getpid(),
            "url": self.url,
            "children": {c.name: c.process.pid for c in self.children if c.process},
        }
        # Whole or not there: others look for it to learn that the stack is up.
        with store.writing(config.home, "up.json") as file:
            file.write(json.dumps(state).encode())
        say(f"fitq is up at {self.url} (API documentation: {self.url}/docs)")
        say(f"Files, database and logs: {config.home}")
        say("Ctrl-C ends it; running jobs checkpoint first.")

    def _environment(self) -> dict[str, str]:
        """Return the children's environment; start the embedded broker when no other was named."""
        config = self.config
        broker = config.broker_url
        if "broker_url" not in config.model_fields_set and (server := valkey.find_server()):
            path = valkey.socket_path(config.home)
            command = valkey.command(server, config.home / "broker", path)
            self._add(Child("broker", command, settings.environment(), self._log_path("broker")))
            _wait_for(path.exists, _BROKER_S, f"The broker did not start; see {self._log_path('broker')}.")
            broker = valkey.url(path)
        return settings.environment(
            FITQ_HOME=str(config.home),
            FITQ_HOST=config.host,
            FITQ_PORT=str(self.port),
            FITQ_DATABASE_URL=config.database_url,
            FITQ_BROKER_URL=broker,
            FITQ_VOLUME=str(config.volume_path),
        )

    def _add(self, child: Child) -> None:
        child.start()
        self.children.append(child)

    def _log_path(self, name: str) -> Path:
        return self.config.home / "logs" / f"{name}.log"

    def _wait_for_api(self) -> None:
        _wait_for(
            lambda: answers(f"{self.url}/healthz"), _API_S, f"The API did not start; see {self._log_path('api')}."
        )

    def _end(self) -> None:
        # In the order in which they depend on each other: who uses ends before who is used.
        order = {"worker": 0, "control": 1, "api": 2, "broker": 3}
        for child in sorted(self.children, key=lambda one: order[one.name]):
            child.ask_to_end()
            deadline = time.monotonic() + child.patience_s
            while child.running and time.monotonic() < deadline and self._interrupts <= 1:
                time.sleep(_TEND_S / 5)
            child.end(patience_s=0.0)


def answers(url: str) -> bool:
    """Whether a GET of `url` gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _wait_for(there: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise Misconfigured(otherwise)
        time.sleep(0.05)


def _lock(home: Path) -> Any:
    """Hold the home for this process; the kernel lets go when it ends."""
    file = (home / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Misconfigured(f"Another `fitq up` runs in {home}. End it, or set FITQ_HOME to another folder.") from None
    return file


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0. Raise `Misconfigured` when it is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(
                f"{host}:{port} cannot be used ({error.strerror}). Set FITQ_PORT to a free port."
            ) from error
        return int(probe.getsockname()[1])
