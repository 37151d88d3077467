"""`python -m api` as a process."""

import http.client
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[3]


def start(database_url: str, volume: Path, port: int, **changes: str) -> subprocess.Popen[str]:
    environ = os.environ | {
        "FITQ_DATABASE_URL": database_url,
        "FITQ_VOLUME": str(volume),
        "FITQ_HOME": str(volume.parent / "home"),
        "FITQ_BROKER_URL": "redis://127.0.0.1:1/0",
        "FITQ_PORT": str(port),
        **changes,
    }
    return subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def await_ready(process: subprocess.Popen[str], port: int) -> None:
    """Return once the serving process answers."""
    assert process.stderr is not None
    for line in process.stderr:
        if "listening" in line:
            break
    one = connect(port)
    one.request("GET", "/healthz")
    assert one.getresponse().status == 200
    one.close()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill both processes of an API, the serving one and its parent, and wait until they are gone."""
    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for one in tree:
        one.kill()
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
    psutil.wait_procs(tree, timeout=30)
