"""What every answer has in common, and the pages for probes and readers."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import context
from api.app import create_app
from shared import db, migrate
from shared.settings import Settings

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def is_problem(answer: Any, status: int, code: str) -> bool:
    body = answer.json
    return (
        answer.status_code == status
        and answer.content_type == "application/problem+json"
        and body["status"] == status
        and body["code"] == code
        and body["request_id"] == answer.headers["X-Request-Id"]
        and bool(body["title"] and body["detail"] and body["type"] and body["instance"])
    )


@on_sqlite
def test_nothing_is_there(client: FlaskClient) -> None:
    answer = client.get("/v1/nothing")

    assert is_problem(answer, 404, "not_found")
    assert answer.json["detail"] == "There is nothing at /v1/nothing."


@on_sqlite
def test_another_method(client: FlaskClient) -> None:
    answer = client.put("/v1/jobs")

    assert is_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@on_sqlite
def test_a_fault_of_ours_shows_no_traceback(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(app.view_functions, "fleet.list_workers", broken)

    answer = client.get("/v1/workers")

    assert is_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    out = capfd.readouterr()
    assert "ZeroDivisionError" in out.err + out.out


@on_sqlite
@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3", True), ("", False), ("a b", False), ("a" * 129, False), ("<script>", False)]
)
def test_a_sane_request_id_is_echoed(client: FlaskClient, *, given: str, kept: bool) -> None:
    answer = client.get("/healthz", headers={"X-Request-Id": given})

    assert (answer.headers["X-Request-Id"] == given) == kept
    assert answer.headers["X-Request-Id"]


@pytest.fixture
def lost(tmp_path: Path, volume: Path) -> Any:
    """The API without its database."""
    settings = Settings(
        home=tmp_path / "h", database_url="postgresql://nobody@127.0.0.1:1/none", volume=volume, broker_url="memory://"
    )
    app = create_app(settings)
    yield app.test_client()
    context.of(app).engine.dispose()


def test_without_a_database_everything_is_503(lost: FlaskClient, spec: dict[str, Any]) -> None:
    job = "/v1/jobs/job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"
    answers = [lost.get(path) for path in ("/v1/jobs", job, f"{job}/events", "/v1/workers", "/readyz")]
    answers += [lost.get(f"{job}/events", headers={"Accept": "text/event-stream"})]
    answers += [lost.post("/v1/jobs", json=spec), lost.post(f"{job}/cancel"), lost.post("/v1/jobs:check", json=spec)]

    for answer in answers:
        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
        assert "127.0.0.1" not in answer.text
    assert lost.get("/healthz").status_code == 200


def test_without_a_free_connection_a_request_comes_again(
    settings: Settings, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "POOL_S", 0.2)
    app = create_app(settings)
    engine = context.of(app).engine
    with ExitStack() as held:
        for _ in range(2 * context.POOL_SIZE):
            held.enter_context(engine.connect())
        answer = app.test_client().post("/v1/jobs", json=spec)
        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
    assert app.test_client().post("/v1/jobs", json=spec).status_code == 201
    engine.dispose()


@on_sqlite
def test_while_another_process_keeps_sqlite_locked_readers_read_and_writers_come_again(
    settings: Settings, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_S", 0.2)
    app = create_app(settings)
    client = app.test_client()
    engine = context.of(app).engine
    with db.write(engine):
        answer = client.post("/v1/jobs", json=spec)
        assert is_problem(answer, 503, "unavailable")
        assert "lock" not in answer.json["detail"]
        assert client.get("/v1/jobs").status_code == 200
    assert client.post("/v1/jobs", json=spec).status_code == 201
    engine.dispose()


# --- probes ---


def test_ready_when_a_worker_is(client: FlaskClient, worker: Any) -> None:
    def reason() -> str:
        answer = client.get("/readyz")
        assert is_problem(answer, 503, "unavailable")
        return str(answer.json["detail"])

    assert reason() == "No worker is alive."
    worker.ready(state="warming")
    assert reason() == "No worker is ready: w1 is warming."
    worker.ready()
    assert client.get("/readyz").json == {"status": "ok"}


def test_not_ready_with_another_schema(client: FlaskClient, worker: Any, database_url: str) -> None:
    worker.ready()
    migrate.downgrade(database_url, "base")

    answer = client.get("/readyz")

    assert is_problem(answer, 503, "unavailable")
    assert "has no fitq schema" in answer.json["detail"]


def test_workers_and_queues(client: FlaskClient, spec: dict[str, Any], worker: Any) -> None:
    worker.ready()
    for _ in range(3):
        client.post("/v1/jobs", json=spec)
    worker.claim()

    workers = client.get("/v1/workers").json["data"]
    assert [(one["name"], one["state"], one["lanes"]) for one in workers] == [("w1", "ready", ["cpu", "interactive"])]
    lanes = {one["lane"]: (one["waiting"], one["running"]) for one in client.get("/v1/queues").json["data"]}
    assert lanes == {"cpu": (2, 1), "gpu": (0, 0), "interactive": (0, 0)}


def test_a_worker_that_is_gone_is_not_listed(client: FlaskClient, worker: Any) -> None:
    worker.ready()
    with db.write(worker.engine) as connection:
        from shared import workers

        workers.leave(connection, "w1")

    assert client.get("/v1/workers").json["data"] == []


# --- reading matter ---


@on_sqlite
def test_the_docs_need_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")

    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    addresses = re.findall(r'(?:src|href|data-url)="([^"]+)"', page.text)
    assert addresses
    for address in addresses:
        assert address.startswith(("/", "data:"))
        if address.startswith("/"):
            assert client.get(address).status_code == 200
    assert client.get("/docs/scalar.js").mimetype == "text/javascript"
    assert client.get("/openapi.json").json["openapi"] == "3.1.1"


@on_sqlite
@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example"])
def test_a_name_that_a_web_page_points_here_is_refused(client: FlaskClient, host: str) -> None:
    answer = client.get("/v1/jobs", headers={"Host": host})

    assert is_problem(answer, 403, "forbidden")
    assert "FITQ_ALLOWED_HOSTS" in answer.json["detail"]


@on_sqlite
def test_a_request_of_another_sites_page_is_refused(client: FlaskClient) -> None:
    assert is_problem(client.get("/v1/jobs", headers={"Origin": "http://evil.example"}), 403, "forbidden")
    assert is_problem(client.get("/v1/jobs", headers={"Origin": "null"}), 403, "forbidden")
    assert client.get("/v1/jobs", headers={"Origin": "http://localhost"}).status_code == 200


@on_sqlite
def test_names_of_proxies_are_allowed_and_an_api_of_the_network_takes_any(settings: Settings) -> None:
    named = create_app(settings.model_copy(update={"allowed_hosts": "fitq.example, other"})).test_client()
    public = create_app(settings.model_copy(update={"host": "0.0.0.0"})).test_client()

    assert named.get("/healthz", headers={"Host": "fitq.example"}).status_code == 200
    assert public.get("/healthz", headers={"Host": "anything.example"}).status_code == 200


@on_sqlite
def test_many_wrong_fields_are_answered_with_the_first_of_them(client: FlaskClient, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json={**spec, **{f"wrong{n}": 1 for n in range(2000)}})

    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 50


@on_sqlite
def test_a_moment_that_utc_cannot_hold_is_refused(client: FlaskClient) -> None:
    answer = client.get("/v1/jobs?created_after=0001-01-01T00:00:00%2B14:00")

    assert is_problem(answer, 400, "bad_request")
