"""A job's events, as pages and as a stream over a real socket."""

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import context, stream
from shared.states import Failure

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Frame:
    """One server-sent event."""

    id: int | None
    type: str
    data: Any


class Reader:
    """A client of one stream."""

    def __init__(self, address: tuple[str, int], job_id: str, *, last: int | None = None) -> None:
        self.connection = http.client.HTTPConnection(*address, timeout=30)
        headers = STREAM | ({"Last-Event-ID": str(last)} if last is not None else {})
        self.connection.request("GET", f"/v1/jobs/{job_id}/events", headers=headers)
        self.answer = self.connection.getresponse()

    def lines(self) -> Iterator[str]:
        while line := self.answer.readline():
            yield line.decode().rstrip("\n")

    def frames(self) -> Iterator[Frame]:
        fields: dict[str, str] = {}
        for line in self.lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                yield Frame(number, fields["event"], json.loads(fields["data"]))
                fields = {}
            elif not line:
                fields = {}

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def kept(frames: Iterator[Frame] | list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.id is not None]


# --- pages ---


def test_a_page_goes_on_after_an_event(client: FlaskClient, submitted: str, worker: Any) -> None:
    attempt = worker.claim()
    for epoch in range(3):
        worker.epoch(attempt, epoch, loss=0.5)
    url = f"/v1/jobs/{submitted}/events"

    first = client.get(f"{url}?limit=2").json
    rest = client.get(f"{url}?after={first['next_after']}").json

    assert [(one["seq"], one["type"]) for one in first["data"] + rest["data"]] == [
        (1, "state"),
        (2, "state"),
        (3, "epoch"),
        (4, "epoch"),
        (5, "epoch"),
    ]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert rest["data"][0]["data"] == {"epoch": 0}
    assert rest["data"][0]["at"].endswith("Z")
    assert client.get(f"{url}?after=5").json == {"object": "list", "data": [], "has_more": False, "next_after": 5}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html", "application/json, text/event-stream;q=0.5"]
)
def test_who_does_not_ask_for_a_stream_gets_a_page(client: FlaskClient, submitted: str, accept: str) -> None:
    answer = client.get(f"/v1/jobs/{submitted}/events", headers={"Accept": accept})

    assert answer.content_type == "application/json"
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=99999999999999999999", "limit=0", "limit=1001", "x=1"])
def test_wrong_event_parameters(client: FlaskClient, submitted: str, query: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/events?{query}").status_code == 400
    assert client.get(f"/v1/jobs/{submitted}/events?{query}", headers=STREAM).status_code == 400


# --- streams ---


def test_a_stream_tells_the_life_of_a_job_and_ends_with_it(
    address: tuple[str, int], submitted: str, worker: Any
) -> None:
    reader = Reader(address, submitted)
    frames = reader.frames()
    assert reader.answer.headers["Cache-Control"] == "no-store"
    assert reader.answer.headers["X-Accel-Buffering"] == "no"
    assert next(frames).data["data"] == {"state": "queued"}

    attempt = worker.claim()
    assert next(frames).data["data"] == {"state": "running", "attempt": 1}
    worker.progress(attempt, phase="fit", step=5, loss=0.5)
    passing = next(frames)
    assert (passing.id, passing.type) == (None, "progress")
    assert passing.data["data"] == {"phase": "fit", "step": 5, "loss": 0.5}
    worker.epoch(attempt, 0, loss=0.5)
    worker.checkpoint(attempt, "epoch-0", b"weights")
    worker.succeed(attempt)

    assert [(one.id, one.type) for one in kept(frames)] == [(3, "epoch"), (4, "checkpoint"), (5, "state")]
    reader.close()


def test_a_stream_of_an_ended_job_is_its_whole_story(address: tuple[str, int], submitted: str, worker: Any) -> None:
    attempt = worker.claim()
    for epoch in range(stream.PAGE * 2):
        worker.epoch(attempt, epoch, loss=0.5)
    worker.fail(attempt, Failure.NAN_LOSS, "NaN")

    reader = Reader(address, submitted)
    frames = list(reader.frames())
    reader.close()

    assert [frame.id for frame in frames] == list(range(1, stream.PAGE * 2 + 4))
    assert frames[-1].data["data"]["error"] == {"code": "nan_loss", "message": "NaN"}


def test_a_reader_that_comes_back_misses_and_repeats_nothing(
    address: tuple[str, int], submitted: str, worker: Any
) -> None:
    epochs = 60

    def train() -> None:
        attempt = worker.claim()
        for epoch in range(epochs):
            worker.epoch(attempt, epoch, loss=0.5)
        worker.succeed(attempt)

    thread = threading.Thread(target=train)
    thread.start()
    seen: list[int] = []
    done = False
    while not done:
        reader = Reader(address, submitted, last=seen[-1] if seen else None)
        for frame in reader.frames():
            if frame.id is None:
                continue
            seen.append(frame.id)
            done = frame.data["data"].get("state") == "succeeded"
            # Hang up in the middle, again and again.
            if len(seen) % 7 == 0:
                break
        reader.close()
    thread.join()

    assert seen == list(range(1, epochs + 4))


def test_a_reader_that_knows_the_end_need_not_come_back(address: tuple[str, int], submitted: str, worker: Any) -> None:
    worker.succeed(worker.claim())

    assert Reader(address, submitted, last=2).answer.status == 200
    assert Reader(address, submitted, last=3).answer.status == 204


def test_a_retried_job_streams_on(address: tuple[str, int], client: FlaskClient, submitted: str, worker: Any) -> None:
    worker.fail(worker.claim(), Failure.BAD_DATA, "wrong")
    client.post(f"/v1/jobs/{submitted}/retry")

    reader = Reader(address, submitted)
    frames = reader.frames()
    assert [next(frames).data["data"]["state"] for _ in range(4)] == ["queued", "running", "failed", "queued"]
    client.post(f"/v1/jobs/{submitted}/cancel")
    assert [frame.data["data"]["state"] for frame in frames] == ["cancelled"]
    reader.close()


def test_an_asked_for_cancel_is_told(
    address: tuple[str, int], client: FlaskClient, submitted: str, worker: Any
) -> None:
    attempt = worker.claim()
    reader = Reader(address, submitted, last=2)
    client.post(f"/v1/jobs/{submitted}/cancel")
    frames = reader.frames()
    assert (asked := next(frames)).type == "cancel_requested"
    assert asked.data["data"] == {"mode": "after_epoch"}
    worker.cancelled(attempt)
    assert [frame.data["data"]["state"] for frame in frames] == ["cancelled"]
    reader.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_silence_is_broken_by_pings(address: tuple[str, int], submitted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PING_S", 0.0)
    monkeypatch.setattr(stream, "POLL_S", 0.01)

    reader = Reader(address, submitted)
    lines = reader.lines()

    assert next(lines) == "retry: 1000"
    assert next(line for line in lines if line.startswith(":")) == ": ping"
    reader.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_streams_end_with_the_process(app: Flask, address: tuple[str, int], submitted: str) -> None:
    reader = Reader(address, submitted)
    frames = reader.frames()
    next(frames)

    context.of(app).stopping.set()

    assert list(frames) == []
    reader.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
def test_a_strange_last_event_id_is_refused(client: FlaskClient, submitted: str, last: str) -> None:
    answer = client.get(f"/v1/jobs/{submitted}/events", headers={**STREAM, "Last-Event-ID": last})

    assert answer.status_code == 400


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_there_is_room_for_half_of_the_threads_and_it_comes_back(
    app: Flask, address: tuple[str, int], submitted: str
) -> None:
    readers = [Reader(address, submitted) for _ in range(context.LONG_REQUESTS)]
    assert {reader.answer.status for reader in readers} == {200}

    refused = Reader(address, submitted)
    assert refused.answer.status == 503
    assert refused.answer.headers["Retry-After"]
    assert json.load(refused.answer)["code"] == "unavailable"
    refused.close()
    for reader in readers:
        reader.close()
    # Who has hung up is noticed at the next frame, at the latest when the process ends.
    context.of(app).stopping.set()
    free = context.of(app).places._free
    assert all(free.acquire(timeout=30) for _ in range(context.LONG_REQUESTS))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_refused_stream_takes_no_room(client: FlaskClient, app: Flask) -> None:
    url = "/v1/jobs/job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21/events"

    statuses = {client.get(url, headers=STREAM).status_code for _ in range(context.LONG_REQUESTS + 1)}

    assert statuses == {404}
