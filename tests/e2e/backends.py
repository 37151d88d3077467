"""What a stack stands on: the embedded SQLite and Valkey, or PostgreSQL and a Redis of the test's own."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import redis

from tests.lacking import lacking

#: For tests in which the database has no part, or one of them would take too long for what it adds.
on_sqlite = pytest.mark.parametrize("backend", ["embedded"], indirect=True, scope="session")
on_postgresql = pytest.mark.parametrize("backend", ["production"], indirect=True, scope="session")


def free_port():
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Embedded:
    """SQLite and Valkey, which `fitq up` starts by itself."""

    name = "embedded"

    def environment(self):
        return {}

    def close(self):
        pass


class Redis:
    """A Redis that keeps nothing on disk, and can be restarted empty."""

    def __init__(self):
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if not found:
            lacking("no redis-server on the PATH")
        self._program = found
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None
        self.start()

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port) as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.02)
                else:
                    return
        raise TimeoutError(self.url)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart_empty(self):
        self.kill()
        self.start()


class RabbitMQ:
    """A RabbitMQ node of the test's own, which waits for acknowledgements for three seconds only."""

    def __init__(self):
        found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        if not found:
            lacking("no rabbitmq-server")
        self._bin = found[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="fitq-rabbitmq-"))
        port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        self._node = f"{self._folder.name}@localhost"
        settings = "[{rabbit, [{consumer_timeout, 3000}, {channel_tick_interval, 500}]}]."
        for name, content in {"advanced.config": settings, "plugins": "[].", "rabbitmq.conf": "", "env": ""}.items():
            (self._folder / name).write_text(content)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(self._folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "env"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
        }
        self.start()

    def start(self):
        output = self._folder / "output"
        with output.open("wb") as file:
            command = [self._bin / "rabbitmq-server"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=file, stderr=file, cwd="/")
        deadline = time.monotonic() + 60
        while "completed with" not in output.read_text():
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)

    def control(self, *arguments):
        """Run `rabbitmqctl` on the node and return what it prints."""
        command = [self._bin / "rabbitmqctl", "--quiet", "-n", self._node, *arguments]
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout

    @property
    def log(self):
        return "".join(path.read_text() for path in (self._folder / "log").glob("*.log"))

    def kill(self):
        psutil.Process(int((self._folder / "pid").read_text())).kill()
        self._process.wait(10)

    def close(self):
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Production:
    """PostgreSQL and Redis, by settings alone."""

    name = "production"

    def __init__(self, server):
        self._server = server
        self._databases = []
        self.redis = []

    def environment(self):
        self._databases.append(self._server.borrow())
        self.redis.append(Redis())
        return {
            "FITQ_DATABASE_URL": self._server.url(self._databases[-1]),
            "FITQ_BROKER_URL": self.redis[-1].url,
        }

    def close(self):
        for one in self.redis:
            one.kill()


class Cluster:
    """A PostgreSQL of the test's own, which can be stopped.

    It listens on `address`, and on a Unix socket that is reached from any network namespace (`socket_url`). `inside`
    is put before each of its commands.
    """

    def __init__(self, address="127.0.0.1", inside=()):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "")]
        if not found[-1].is_file():
            lacking("no pg_ctl")
        self._bin = found[-1].parent
        # PostgreSQL refuses to run as root, and its user must reach the folder.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self._folder = Path(tempfile.mkdtemp(prefix="fitq-pg-"))
        if self._as:
            shutil.chown(self._folder, "postgres")
        self._inside = list(inside)
        self._address = address
        self.port = free_port()
        user = "postgres" if self._as else getpass.getuser()
        self.url = f"postgresql://{user}@{address}:{self.port}/postgres"
        self.socket_url = f"postgresql://{user}@/postgres?host={self._folder}&port={self.port}"
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-N")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")
        self.start()

    @property
    def _data(self):
        return self._folder / "data"

    def _run(self, program, *arguments):
        command = [*self._inside, *self._as, str(self._bin / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def start(self):
        options = f"-p {self.port} -c unix_socket_directories={self._folder} -c listen_addresses={self._address}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start")

    def stop(self, mode="immediate"):
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "stop")

    def sql(self, statement):
        """Run a statement as the server's owner."""
        self._run("psql", "-q", self.url, "-c", statement)

    @property
    def folder(self):
        """A folder that the server's user reaches."""
        return self._folder

    def database_in(self, folder):
        """Make a database whose files lie in `folder`, and return its URL."""
        if self._as:
            shutil.chown(folder, "postgres")
        self.sql(f"CREATE TABLESPACE small LOCATION '{folder}'")
        self.sql("CREATE DATABASE small TABLESPACE small")
        return self.url.removesuffix("postgres") + "small"

    def become_standby(self):
        """Come back as a server that follows another one, and can only be read."""
        self.stop("fast")
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if self._as:
            shutil.chown(signal_file, "postgres")
        self.start()

    def close(self):
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
