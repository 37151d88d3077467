"""Streams across replicas and restarts: two real API processes over one database."""

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import fitq
from fitq import follow
from shared import db, jobs, store
from shared.spec import parse
from tests.integration.api.processes import await_ready, connect, free_port, kill, start

#: Epochs that are written before and after an API process is killed.
BEFORE, AFTER = 30, 30


class Replica:
    """One API process."""

    def __init__(self, database_url: str, volume: Path) -> None:
        self._where = (database_url, volume)
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self._process = start(*self._where, self.port)
        await_ready(self._process, self.port)

    def kill(self) -> None:
        if self._process is not None:
            kill(self._process)
        self._process = None


@pytest.fixture
def new_replica(database_url: str, volume: Path) -> Iterator[Any]:
    replicas: list[Replica] = []

    def make() -> Replica:
        replicas.append(Replica(database_url, volume))
        return replicas[-1]

    yield make
    for replica in replicas:
        replica.kill()


@pytest.fixture
def job_id(engine: sa.Engine, spec: dict[str, Any]) -> str:
    with db.write(engine) as connection:
        return jobs.submit(connection, parse(spec)).job_id


class Training(threading.Thread):
    """Trains the next job; after some epochs it waits until `killed`."""

    def __init__(self, worker: Any) -> None:
        super().__init__(daemon=True)
        self._worker = worker
        self.killed = threading.Event()

    def run(self) -> None:
        attempt = self._worker.claim()
        log = self._worker.volume / store.log_path(attempt.job_id, 1)
        log.parent.mkdir(parents=True, exist_ok=True)
        for epoch in range(BEFORE + AFTER):
            if epoch == BEFORE:
                self.killed.wait(60)
            with log.open("a") as file:
                file.write(f"epoch {epoch}\n")
            self._worker.epoch(attempt, epoch, loss=0.5)
        self._worker.succeed(attempt)


def read_events(port: int, job_id: str, seen: list[int], *, most: int | None = None) -> bool:
    """Read whole events behind the last one seen, until the stream ends, breaks, or `most` were seen.

    Return whether the job has ended.
    """
    connection = connect(port)
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(seen[-1])} if seen else {})
    connection.request("GET", f"/v1/jobs/{job_id}/events", headers=headers)
    try:
        return _read(connection.getresponse(), seen, most)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, seen: list[int], most: int | None) -> bool:
    assert answer.status == 200
    event: dict[str, str] = {}
    while line := answer.readline().decode():
        name, _, value = line.strip().partition(": ")
        if name:
            event[name] = value
            continue
        if "id" in event:
            seen.append(int(event["id"]))
            if json.loads(event["data"])["data"].get("state") == "succeeded":
                return True
            if most is not None and len(seen) >= most:
                return False
        event = {}
    return False


def test_a_stream_that_dies_with_its_replica_goes_on_at_another(new_replica: Any, job_id: str, worker: Any) -> None:
    first, second = new_replica(), new_replica()
    training = Training(worker)
    training.start()
    seen: list[int] = []
    read_events(first.port, job_id, seen, most=5)
    dying = threading.Thread(target=read_events, args=(first.port, job_id, seen))
    dying.start()

    first.kill()
    dying.join(60)
    training.killed.set()
    assert 5 <= len(seen) <= BEFORE + 2
    while not read_events(second.port, job_id, seen):
        pass
    training.join(60)

    assert seen == list(range(1, BEFORE + AFTER + 4))


def test_the_client_goes_on_when_its_server_is_killed_and_comes_back(
    new_replica: Any, job_id: str, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "POLL_S", 0.05)
    replica = new_replica()
    training = Training(worker)
    heard: list[fitq.Event] = []
    printed: list[str] = []
    halfway, read = threading.Event(), threading.Event()

    def listen() -> None:
        with fitq.connect(f"http://127.0.0.1:{replica.port}") as queue:
            for event in queue.job(job_id).events():
                heard.append(event)
                if event.seq == BEFORE + 2:
                    halfway.set()

    def read_log() -> None:
        with fitq.connect(f"http://127.0.0.1:{replica.port}") as queue:
            for part in queue.job(job_id).follow_logs():
                printed.append(part.text)
                if f"epoch {BEFORE - 1}\n" in part.text:
                    read.set()

    threads = [threading.Thread(target=target, daemon=True) for target in (listen, read_log)]
    for thread in (training, *threads):
        thread.start()
    assert halfway.wait(60)
    assert read.wait(60)

    replica.kill()
    training.killed.set()
    replica.start()
    for thread in (training, *threads):
        thread.join(60)

    assert [event.seq for event in heard if event.seq is not None] == list(range(1, BEFORE + AFTER + 4))
    assert heard[-1].data["state"] == "succeeded"
    assert "".join(printed) == "".join(f"epoch {epoch}\n" for epoch in range(BEFORE + AFTER))
