"""What the killer and its jobs meet in: a whole stack, a second worker, and the services under them."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import redis

from tests.e2e.backends import Cluster, Redis
from tests.e2e.stacks import ROOT, Stack

STACKS = ("sqlite + valkey", "postgresql + redis")


class Arena:
    """One stack under attack. `cluster` is its PostgreSQL, None on SQLite."""

    lease_s = 3.0

    def __init__(self, name, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.name = name
        production = name == STACKS[1]
        self.cluster = Cluster() if production else None
        self._redis = Redis() if production else None
        services = {"FITQ_DATABASE_URL": self.cluster.url, "FITQ_BROKER_URL": self._redis.url} if production else {}
        self.stack = Stack(home, **services, FITQ_SLOTS="1", FITQ_LEASE_S=str(self.lease_s), FITQ_DRAIN_S="5")
        self._second = None
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_the_second_worker, name="keeper")

    @property
    def volume(self):
        return self.stack.home / "volume"

    def __enter__(self):
        self.stack.start()
        self._keeper.start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._keeper.join()
        self.stack.stop()
        if self._redis:
            self._redis.kill()
        if self.cluster:
            self.cluster.close()

    def _keep_the_second_worker(self):
        """Start a second worker as a service manager would, again whenever it ends."""
        environment = {**self.stack.environment}
        if not self.cluster:
            environment["FITQ_BROKER_URL"] = self.stack.broker_url
        log = (self.stack.home.parent / f"{self.stack.home.name}-second-worker.log").open("ab")
        while not self._closing.wait(0.2):
            if self._second is None or self._second.poll() is not None:
                self._second = subprocess.Popen(
                    [sys.executable, "-m", "worker"], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
        self._second.send_signal(signal.SIGCONT)
        self._second.terminate()
        try:
            self._second.wait(30)
        except subprocess.TimeoutExpired:
            self._second.kill()
        log.close()

    def processes(self, title):
        """Return the living processes of both workers and of the stack whose title begins so."""
        roots = [self.stack.process.pid, *([self._second.pid] if self._second else [])]
        found = []
        for root in roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                tree = psutil.Process(root)
                for one in (tree, *tree.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        alive = one.is_running() and one.status() != psutil.STATUS_ZOMBIE
                        if alive and " ".join(one.cmdline()).startswith(title):
                            found.append(one)
        return found

    def redis(self):
        if self._redis:
            return redis.Redis(port=self._redis.port, socket_timeout=2)
        return redis.Redis(unix_socket_path=str(self.stack.home / "broker.sock"), socket_timeout=2)

    def kill_broker(self):
        """Kill the broker; PostgreSQL's companion comes back empty, the embedded one as `fitq up` restarts it."""
        if self._redis:
            self._redis.restart_empty()
            return True
        for one in self.processes(""):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "valkey-server" in one.name() or "redis-server" in one.name():
                    one.kill()
                    return True
        return False

    def queue(self):
        return self.stack.queue()

    def rows(self, query, **values):
        """Ask the database, waiting while it is away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.stack.rows(query, **values)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
