"""`python -m api` as a process: it starts, serves, says what is wrong, and stops."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.spec import SPEC_BYTES
from tests.integration.api.processes import await_ready, connect, free_port, start

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def server(database_url: str, volume: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = start(database_url, volume, port)
    try:
        await_ready(process, port)
        yield process, port
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        psutil.wait_procs(children, timeout=30)


def limits_chunks(port: int, spec: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    small = connect(port)
    small.request("POST", "/v1/jobs", iter([json.dumps(spec).encode()]), headers, encode_chunked=True)
    assert small.getresponse().status == 201
    small.close()

    large = connect(port)
    large.request(
        "POST", "/v1/jobs", iter([b" " * 100_000] * (SPEC_BYTES // 100_000 + 1)), headers, encode_chunked=True
    )
    answer = large.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    large.close()


def test_it_serves_and_stops_with_open_streams(server: tuple[subprocess.Popen[str], int], spec: dict[str, Any]) -> None:
    process, port = server
    limits_chunks(port, spec)
    idle = connect(port)
    idle.request("POST", "/v1/jobs", json.dumps(spec), {"Content-Type": "application/json"})
    answer = idle.getresponse()
    job = json.load(answer)
    assert answer.status == 201
    streams = []
    for _ in range(3):
        one = connect(port)
        one.request("GET", job["links"]["events"], headers={"Accept": "text/event-stream"})
        streams.append((one, one.getresponse()))
        assert streams[-1][1].readline() == b"retry: 1000\n"
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert {one.cmdline()[0] for one in tree} == {"fitq api"}

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    for one, stream in streams:
        # The end of the stream, not a broken connection.
        assert stream.read().endswith(b"\n\n")
        one.close()
    idle.close()
    assert psutil.wait_procs(tree, timeout=30)[1] == []


def test_the_serving_process_ends_with_the_first(
    server: tuple[subprocess.Popen[str], int], spec: dict[str, Any]
) -> None:
    process, port = server
    children = psutil.Process(process.pid).children()
    one = connect(port)
    one.request("POST", "/v1/jobs", json.dumps(spec), {"Content-Type": "application/json", "Prefer": "wait=60"})
    assert len(children) == 1

    process.kill()

    assert psutil.wait_procs(children, timeout=30)[1] == []
    one.close()


def test_a_database_without_schema_is_said_at_the_start(database_url: str, volume: Path) -> None:
    process = start(f"sqlite:///{volume}/other.db", volume, free_port())

    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert err == "fitq api: The database has no fitq schema. Run: python -m shared.migrate\n"


@pytest.mark.parametrize("server", ["127.0.0.1:1", "database.invalid"], ids=["away", "unknown"])
def test_a_database_that_is_away_is_said_at_the_start(database_url: str, volume: Path, server: str) -> None:
    process = start(f"postgresql://nobody@{server}/none", volume, free_port())

    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err.startswith("fitq api: the database (FITQ_DATABASE_URL) does not answer: ")
    assert err.count("\n") == 1


def test_a_wrong_setting_is_named(database_url: str, volume: Path) -> None:
    process = start(database_url, volume, 8080, FITQ_PORT="many")

    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert err.startswith("fitq api: FITQ_PORT: ")
    assert "Traceback" not in err
