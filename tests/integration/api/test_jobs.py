"""Reading, listing, cancelling and retrying jobs."""

import re
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import context
from shared.states import Failure, Lane

NO_JOB = "/v1/jobs/job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer.json["data"]]


# --- one ---


def test_a_job_is_read_as_it_goes_on(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}"
    waiting = client.get(url).json
    assert (waiting["state"], waiting["queue_position"]) == ("queued", 0)
    assert "No worker serves lane 'cpu'" in waiting["waiting_reason"]

    attempt = worker.claim()
    worker.epoch(attempt, 0, loss=0.5)
    running = client.get(url).json
    assert (running["state"], running["attempt"], running["worker"]) == ("running", 1, "w1")
    assert (running["queue_position"], running["waiting_reason"]) == (None, None)
    assert running["progress"] == {"phase": "fit", "epoch": 0}
    assert running["started_at"].endswith("Z")

    worker.fail(attempt, Failure.NAN_LOSS, "The loss became NaN in epoch 1.")
    failed = client.get(url).json
    assert failed["error"] == {"code": "nan_loss", "message": "The loss became NaN in epoch 1."}
    assert failed["finished_at"] >= failed["started_at"] >= failed["created_at"]


def test_the_second_in_line_is_told_so(client: FlaskClient, spec: dict[str, Any], worker: Any) -> None:
    worker.ready()
    client.post("/v1/jobs", json=spec)
    second = client.post("/v1/jobs", json=spec).json

    answer = client.get(second["links"]["self"]).json

    assert answer["queue_position"] == 1
    assert answer["waiting_reason"] == "1 job is before it in lane 'cpu'."


def test_a_poller_sees_each_change_and_gets_304_between(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}"
    attempts: list[Any] = []
    changes = [
        lambda: attempts.append(worker.claim()),
        lambda: worker.progress(attempts[-1], phase="fit", epoch=0, step=1),
        lambda: worker.progress(attempts[-1], phase="fit", epoch=0, step=2),
        lambda: worker.epoch(attempts[-1], 0, loss=0.5),
        lambda: worker.checkpoint(attempts[-1], "epoch-0", b"weights"),
        lambda: client.post(f"{url}/cancel"),
        lambda: worker.cancelled(attempts[-1]),
        lambda: client.post(f"{url}/retry"),
        worker.ready,
        lambda: attempts.append(worker.claim()),
        lambda: worker.fail(attempts[-1], Failure.CRASHED, "It broke."),
        lambda: attempts.append(worker.claim()),
        lambda: worker.succeed(attempts[-1]),
    ]
    tags = [client.get(url).headers["ETag"]]

    for change in changes:
        for _ in range(2):
            again = client.get(url, headers={"If-None-Match": tags[-1]})
            assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tags[-1])
        change()
        news = client.get(url, headers={"If-None-Match": tags[-1]})
        assert (news.status_code, news.json["id"]) == (200, submitted)
        tags.append(news.headers["ETag"])

    assert client.get(url, headers={"If-None-Match": tags[-1]}).status_code == 304
    assert len(set(tags)) == len(changes) + 1


def test_a_poller_of_a_job_that_trains_sees_only_what_is_new(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}"
    attempt = worker.claim()

    def train() -> None:
        for epoch in range(20):
            worker.epoch(attempt, epoch, loss=0.5)
        worker.succeed(attempt)

    thread = threading.Thread(target=train)
    thread.start()
    seen: list[tuple[int, str]] = []
    tag = ""
    while not seen or seen[-1][1] == "running":
        answer = client.get(url, headers={"If-None-Match": tag})
        if answer.status_code == 200:
            assert answer.headers["ETag"] != tag
            tag = answer.headers["ETag"]
            seen.append(((answer.json["progress"] or {}).get("epoch", -1), answer.json["state"]))
    thread.join()

    assert seen[-1] == (19, "succeeded")
    assert seen == sorted(seen, key=lambda one: one[0])


def test_why_a_job_waits_is_news(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}"
    before = client.get(url).headers["ETag"]
    worker.ready()

    assert client.get(url, headers={"If-None-Match": before}).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/metrics", "/history", "/checkpoints", "/events", "/logs", "/result", "/attempts", "/artifacts"]
)
def test_no_such_job(client: FlaskClient, path: str) -> None:
    answer = client.get(NO_JOB + path)

    assert answer.status_code == 404
    assert answer.json["detail"].startswith("There is no job job_")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["1", "job_1", "job_%00", NO_JOB[9:] + "x", NO_JOB[9:].upper(), "job_" + "9" * 5000])
def test_what_is_no_id_is_404(client: FlaskClient, name: str) -> None:
    assert client.get(f"/v1/jobs/{name}").status_code == 404


# --- many ---


def test_pages_are_not_shifted_by_new_jobs(client: FlaskClient, spec: dict[str, Any]) -> None:
    old = [client.post("/v1/jobs", json=spec).json["id"] for _ in range(7)]
    seen: list[str] = []
    url = "/v1/jobs?limit=3&tag=team:vision"
    while url:
        answer = client.get(url)
        seen += ids(answer)
        client.post("/v1/jobs", json=spec)
        link = answer.headers.get("Link")
        assert (link is not None) == answer.json["has_more"] == (answer.json["next_cursor"] is not None)
        url = re.fullmatch(r'<(.*)>; rel="next"', link)[1] if link else ""

    assert seen == old[::-1]


def test_a_list_narrows_down(client: FlaskClient, spec: dict[str, Any], worker: Any) -> None:
    first = client.post("/v1/jobs", json=spec).json
    worker.claim()
    other = {**spec, "name": "other", "tags": {"team": "audio", "a": "b:c"}, "resources": {"lane": "gpu"}}
    second = client.post("/v1/jobs", json=other).json

    def found(query: str) -> list[str]:
        return ids(client.get(f"/v1/jobs?{query}"))

    assert found("state=running") == [first["id"]]
    assert found("state=running&state=queued") == [second["id"], first["id"]]
    assert found("kind=train&kind=predict") == [second["id"], first["id"]]
    assert found("kind=predict") == []
    assert found("name=other") == [second["id"]]
    assert found("lane=gpu") == [second["id"]]
    assert found("tag=team:audio&tag=a:b:c") == [second["id"]]
    assert found("tag=team:audio&tag=a:b") == []
    assert found(f"created_after={second['created_at']}") in ([second["id"]], [second["id"], first["id"]])
    assert found(f"created_before={first['created_at']}") == []
    assert found("created_before=2999-01-01T00:00:00Z") == [second["id"], first["id"]]


def test_a_list_shows_jobs_without_their_specs(client: FlaskClient, submitted: str) -> None:
    answer = client.get("/v1/jobs").json

    assert answer["object"] == "list"
    job = answer["data"][0]
    assert (job["id"], job["tags"]) == (submitted, {"team": "vision"})
    assert (job["spec"], job["queue_position"]) == (None, None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("state=sleeping", "state/0"),
        ("kind=check", "kind/0"),
        ("lane=fast", "lane"),
        ("tag=team", "tag/0"),
        ("name=a%00b", "name"),
        ("tag=a:%00", "tag/0"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("cursor=!", "cursor"),
        ("cursor=am9iXw", "cursor"),
        ("sort=name", "sort"),
    ],
)
def test_a_wrong_parameter_is_named(client: FlaskClient, query: str, parameter: str) -> None:
    answer = client.get(f"/v1/jobs?{query}")

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("url", [NO_JOB, "/v1/workers", "/v1/queues", "/healthz", f"{NO_JOB}/history"])
def test_a_parameter_where_none_is_known_is_refused(client: FlaskClient, url: str) -> None:
    assert client.get(f"{url}?verbose=1").status_code == 400


# --- cancel and retry ---


def test_a_waiting_job_is_cancelled_at_once(client: FlaskClient, submitted: str) -> None:
    url = f"/v1/jobs/{submitted}/cancel"

    answer = client.post(url)

    assert (answer.status_code, answer.json["state"]) == (200, "cancelled")
    assert client.post(url).json["state"] == "cancelled"


def test_a_running_job_is_asked_to_end(client: FlaskClient, submitted: str, worker: Any) -> None:
    attempt = worker.claim()
    url = f"/v1/jobs/{submitted}/cancel"

    asked = client.post(url, json={})
    stronger = client.post(url, json={"mode": "now"})
    weaker = client.post(url, json={"mode": "after_epoch"})

    assert [one.json["state"] for one in (asked, stronger, weaker)] == ["running"] * 3
    assert [one.json["cancel_requested"] for one in (asked, stronger, weaker)] == ["after_epoch", "now", "now"]
    worker.cancelled(attempt)
    assert client.get(f"/v1/jobs/{submitted}").json["state"] == "cancelled"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"mode": "softly"}', 422), (b'{"how": "now"}', 422), (b"[]", 422), (b"{", 400), (b'{"mode": NaN}', 400)],
)
def test_a_wrong_cancel_asks_nothing(client: FlaskClient, submitted: str, body: bytes, status: int) -> None:
    answer = client.post(f"/v1/jobs/{submitted}/cancel", data=body, content_type="application/json")

    assert answer.status_code == status
    assert client.get(f"/v1/jobs/{submitted}").json["state"] == "queued"


def test_a_failed_job_is_retried(client: FlaskClient, submitted: str, worker: Any) -> None:
    worker.fail(worker.claim(), Failure.BAD_DATA, "wrong")

    answer = client.post(f"/v1/jobs/{submitted}/retry")

    assert (answer.status_code, answer.json["state"], answer.json["error"]) == (200, "queued", None)
    assert worker.claim().number == 2


def test_what_has_succeeded_stays(client: FlaskClient, submitted: str, worker: Any) -> None:
    worker.succeed(worker.claim())

    for action in ("cancel", "retry"):
        answer = client.post(f"/v1/jobs/{submitted}/{action}")
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_nothing_is_done_to_no_job(client: FlaskClient, action: str) -> None:
    assert client.post(f"{NO_JOB}/{action}").status_code == 404


# --- check ---


def test_a_check_is_answered_by_a_worker_and_leaves_nothing(
    client: FlaskClient, app: Flask, spec: dict[str, Any], worker: Any
) -> None:
    worker.ready()
    checked = []

    def work(attempt: Any) -> None:
        checked.append(attempt)
        worker.succeed(attempt, parameters=618)

    thread = worker.in_background(Lane.INTERACTIVE, work)
    answer = client.post("/v1/jobs:check", json={**spec, "resources": {"memory_mb": 500_000}})
    thread.join()

    assert (answer.status_code, answer.json) == (200, {"parameters": 618})
    assert (checked[0].kind, checked[0].memory_mb) == ("check", 2048)
    assert client.get("/v1/jobs").json["data"] == []
    assert client.get(f"/v1/jobs/{checked[0].job_id}").status_code == 404


def test_what_the_worker_finds_wrong_is_422(client: FlaskClient, spec: dict[str, Any], worker: Any) -> None:
    worker.ready()
    thread = worker.in_background(
        Lane.INTERACTIVE, lambda attempt: worker.fail(attempt, Failure.BAD_DATA, "digits has 64 columns.")
    )
    answer = client.post("/v1/jobs:check", json=spec)
    thread.join()

    assert answer.status_code == 422
    assert (answer.json["code"], answer.json["detail"]) == ("bad_data", "digits has 64 columns.")


@pytest.mark.parametrize(
    ("lanes", "state"), [((), "gone"), (("cpu",), "ready"), (("interactive",), "warming")], ids=["none", "cpu", "cold"]
)
def test_without_a_ready_worker_a_check_is_503(
    client: FlaskClient, spec: dict[str, Any], worker: Any, lanes: tuple[str, ...], state: str
) -> None:
    worker.ready(lanes=lanes, state=state)

    answer = client.post("/v1/jobs:check", json=spec)

    assert answer.status_code == 503
    assert "as far as can be told without a worker" in answer.json["detail"]
    assert "Retry-After" in answer.headers


def test_a_check_that_nobody_answers_is_taken_back(app: Flask, spec: dict[str, Any], worker: Any) -> None:
    worker.ready()
    context.of(app).stopping.set()

    answer = app.test_client().post("/v1/jobs:check", json=spec)

    assert answer.status_code == 503
    assert worker.claim("interactive") is None


def test_a_check_that_runs_too_long_is_cancelled(
    app: Flask, spec: dict[str, Any], worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.ready()
    claimed = threading.Event()
    attempts: list[Any] = []

    def work(attempt: Any) -> None:
        attempts.append(attempt)
        claimed.set()
        context.of(app).stopping.set()

    thread = worker.in_background(Lane.INTERACTIVE, work)
    answer = app.test_client().post("/v1/jobs:check", json=spec)
    thread.join()

    assert answer.status_code == 503
    with context.of(app).engine.connect() as connection:
        from shared import jobs

        assert [one.cancel for one in jobs.wished(connection, worker="w1").values()] == ["now"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_spec_needs_no_worker(client: FlaskClient, spec: dict[str, Any]) -> None:
    del spec["model"]

    answer = client.post("/v1/jobs:check", json=spec)

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/model"
