"""What a stack stands on: the embedded SQLite and Valkey, or PostgreSQL and a Redis of the test's own."""

import os
import shutil
import socket
import subprocess
import time

import pytest
import redis


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
            if os.environ.get("CI"):
                pytest.fail("no redis-server on the PATH")
            pytest.skip("no redis-server on the PATH")
        self._program = found
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
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
