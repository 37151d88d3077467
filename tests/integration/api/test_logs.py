"""Logs that are followed, over a real socket."""

import http.client
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import context, logtail
from shared import store
from shared.states import Failure

STREAM = {"Accept": "text/event-stream"}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "POLL_S", 0.01)


@pytest.fixture
def write(volume: Path) -> Any:
    """Append to an attempt's log, as its runner does."""

    def append(job_id: str, attempt: int, content: bytes) -> None:
        path = volume / store.log_path(job_id, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)

    return append


class Follower:
    """A client that follows one log."""

    def __init__(self, address: tuple[str, int], job_id: str, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection(*address, timeout=30)
        self.connection.request("GET", f"/v1/jobs/{job_id}/logs?follow=true{query}", headers=headers)
        self.answer = self.connection.getresponse()

    def until(self, wanted: bytes) -> bytes:
        """Read up to a text."""
        found = b""
        while not found.endswith(wanted):
            byte = self.answer.read(1)
            assert byte, found
            found += byte
        return found

    def events(self) -> list[dict[str, Any]]:
        """Read to the end; return the events' data."""
        return [json.loads(line[6:]) for line in self.answer.read().splitlines() if line.startswith(b"data: ")]

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_a_log_is_followed_through_all_attempts_to_the_end(
    address: tuple[str, int], submitted: str, worker: Any, write: Any
) -> None:
    follower = Follower(address, submitted)
    assert (follower.answer.status, follower.answer.headers.get_content_type()) == (200, "text/plain")
    attempt = worker.claim()
    write(submitted, 1, b"one\n")
    assert follower.until(b"one\n") == b"one\n"
    write(submitted, 1, b"two, \xff cut")
    assert follower.until(b"cut") == b"two, \xff cut"
    worker.fail(attempt, Failure.CRASHED, "killed")
    attempt = worker.claim()
    write(submitted, 2, b"again\n")
    assert follower.until(b"again\n") == b"\n--- attempt 2 ---\nagain\n"
    write(submitted, 2, b"last")
    worker.succeed(attempt)

    assert follower.answer.read() == b"last"
    follower.close()


@on_sqlite
def test_whoever_comes_back_names_the_attempt_and_the_bytes_that_are_known(
    address: tuple[str, int], submitted: str, worker: Any, write: Any
) -> None:
    attempt = worker.claim()
    write(submitted, 1, b"first\nsecond\n")
    worker.fail(attempt, Failure.CRASHED, "killed")
    write(submitted, 2, b"third\n")
    worker.succeed(worker.claim())

    for query, wanted in (
        ("", b"third\n"),
        ("&attempt=1", b"first\nsecond\n--- attempt 2 ---\nthird\n"),
        ("&attempt=1&offset=6", b"second\n--- attempt 2 ---\nthird\n"),
        ("&attempt=1&offset=13", b"third\n"),
        ("&attempt=1&tail=1", b"second\n--- attempt 2 ---\nthird\n"),
        ("&tail=0", b""),
        ("&attempt=2&offset=99", b""),
        ("&attempt=3", b""),
    ):
        follower = Follower(address, submitted, query)
        assert follower.answer.read() == wanted, query
        follower.close()


@on_sqlite
def test_events_say_which_bytes_they_are_and_go_on_anywhere(
    address: tuple[str, int], submitted: str, worker: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logtail, "CHUNK", 10)
    attempt = worker.claim()
    write(submitted, 1, "aé\nbé\nlonger than a chunk\nçççççç".encode())
    worker.fail(attempt, Failure.CRASHED, "killed")
    write(submitted, 2, b"end\n")
    worker.succeed(worker.claim())

    events = Follower(address, submitted, "&attempt=1", **STREAM).events()

    assert events[-1] == {"type": "end", "state": "succeeded"}
    parts = events[:-1]
    first = "".join(part["text"] for part in parts if part["attempt"] == 1)
    assert first == "aé\nbé\nlonger than a chunk\nçççççç"
    assert (parts[-1]["attempt"], parts[-1]["offset"], parts[-1]["text"]) == (2, 4, "end\n")
    for known, part in enumerate(parts, 1):
        place = f"{part['attempt']}:{part['offset']}"
        rest = Follower(address, submitted, **STREAM, **{"Last-Event-ID": place})
        if known == len(parts):
            assert rest.answer.status == 204
        else:
            assert rest.events() == events[known:]
        rest.close()


@on_sqlite
def test_a_character_is_not_cut_in_the_middle(
    address: tuple[str, int], submitted: str, worker: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logtail, "POLL_S", 0.2)
    attempt = worker.claim()
    write(submitted, 1, "x€".encode()[:-1])
    follower = Follower(address, submitted, **STREAM)
    assert b'"text":"x"' in follower.until(b"}\n\n")
    write(submitted, 1, "€".encode()[-1:])
    worker.succeed(attempt)

    assert "".join(one.get("text", "") for one in follower.events()) in {"€", "\ufffd\ufffd"}
    follower.close()


@on_sqlite
def test_silence_is_broken_by_pings(address: tuple[str, int], submitted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "PING_S", 0.0)

    follower = Follower(address, submitted, **STREAM)

    assert follower.until(b"ping\n\n").endswith(b"\n\n: ping\n\n")
    follower.close()


@on_sqlite
def test_it_takes_a_place_and_gives_it_back_when_the_client_goes(
    app: Flask, address: tuple[str, int], submitted: str
) -> None:
    free = context.of(app).places._free
    followers = [Follower(address, submitted) for _ in range(context.LONG_REQUESTS)]
    refused = Follower(address, submitted)
    assert (refused.answer.status, json.load(refused.answer)["code"]) == (503, "unavailable")

    for follower in (*followers, refused):
        follower.close()

    # Although the job has printed nothing that could be written to them.
    assert all(free.acquire(timeout=30) for _ in range(context.LONG_REQUESTS))


@on_sqlite
def test_it_ends_with_the_process(app: Flask, address: tuple[str, int], submitted: str) -> None:
    followers = [Follower(address, submitted), Follower(address, submitted, **STREAM)]

    context.of(app).stopping.set()

    # No last event: the job has not ended.
    assert [follower.answer.read() for follower in followers] == [b"", b"retry: 1000\n\n"]
    for follower in followers:
        follower.close()


@on_sqlite
@pytest.mark.parametrize("place", ["1", "0:1", "1:-1", "x:1", "1:1:1", "1:" + "9" * 30])
def test_a_strange_place_is_refused(client: FlaskClient, submitted: str, place: str) -> None:
    url = f"/v1/jobs/{submitted}/logs?follow=true"

    assert client.get(url, headers={**STREAM, "Last-Event-ID": place}).status_code == 400


@on_sqlite
def test_a_log_of_no_job_takes_no_room(client: FlaskClient) -> None:
    url = "/v1/jobs/job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21/logs?follow=true"

    assert {client.get(url).status_code for _ in range(context.LONG_REQUESTS + 1)} == {404}


@on_sqlite
def test_a_reader_that_is_cut_off_again_and_again_gets_each_byte_once(
    address: tuple[str, int], submitted: str, worker: Any, write: Any
) -> None:
    lines = [f"line {number}\n" for number in range(200)]
    attempt = worker.claim()

    def run() -> None:
        for line in lines:
            write(submitted, 1, line.encode())
        worker.succeed(attempt)

    thread = threading.Thread(target=run)
    thread.start()
    text, offset = "", 0
    while True:
        follower = Follower(address, submitted, f"&attempt=1&offset={offset}", **STREAM)
        frame = follower.until(b"}\n\n")
        follower.close()
        event = json.loads(frame.split(b"data: ")[1])
        if event["type"] == "end":
            break
        text, offset = text + event["text"], event["offset"]
    thread.join()

    assert text == "".join(lines)
