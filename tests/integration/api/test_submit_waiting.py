"""POST /v1/jobs: answers that wait for the job's end, and models that come from other jobs."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from api import context


def test_prefer_wait_holds_the_answer_until_the_end(client: FlaskClient, spec: dict[str, Any], worker: Any) -> None:
    thread = worker.in_background("cpu", lambda attempt: worker.succeed(attempt, loss=0.5))

    answer = client.post("/v1/jobs", json=spec, headers={"Prefer": "respond-async, wait=50"})

    thread.join()
    assert answer.status_code == 201
    assert answer.json["state"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=50"
    assert answer.json["result"]["value"] == {"loss": 0.5}
    assert answer.json["result"] == client.get(answer.json["links"]["result"]).json
    assert client.get(answer.json["links"]["self"]).json["result"] is None


def test_a_wait_that_is_over_answers_what_is(client: FlaskClient, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json=spec, headers={"Prefer": "wait=0"})

    assert (answer.status_code, answer.json["state"], answer.json["result"]) == (201, "queued", None)


def test_a_wait_is_cut_to_a_minute_and_ends_with_the_process(app: Flask, spec: dict[str, Any]) -> None:
    context.of(app).stopping.set()

    answer = app.test_client().post("/v1/jobs", json=spec, headers={"Prefer": "wait=3600"})

    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json["state"] == "queued"


def test_without_room_to_wait_the_answer_comes_at_once(app: Flask, spec: dict[str, Any]) -> None:
    for _ in range(context.LONG_REQUESTS):
        context.of(app).places.take()

    answer = app.test_client().post("/v1/jobs", json=spec, headers={"Prefer": "wait=50"})

    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers


# --- another job's model ---


def test_a_model_of_an_unfinished_job_is_409(client: FlaskClient, submitted: str) -> None:
    wanted = {"kind": "evaluate", "model": {"job": submitted}, "data": {"test": {"dataset": "digits"}}}

    answer = client.post("/v1/jobs", json=wanted)

    assert answer.status_code == 409
    assert answer.json["errors"][0]["pointer"] == "/model/job"


def test_a_model_of_no_job_is_422(client: FlaskClient) -> None:
    job = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"
    wanted = {"kind": "evaluate", "model": {"job": job}, "data": {"test": {"dataset": "digits"}}}

    answer = client.post("/v1/jobs", json=wanted)

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/model/job"


def test_a_finished_jobs_model_is_pinned(client: FlaskClient, submitted: str, worker: Any) -> None:
    attempt = worker.claim()
    worker.checkpoint(attempt, "final", b"weights")
    worker.succeed(attempt, final="final")
    wanted = {"kind": "predict", "model": {"job": submitted}, "data": {"input": {"x": [[0.0] * 64]}}}

    answer = client.post("/v1/jobs", json=wanted)

    assert answer.status_code == 201, answer.json
    assert answer.json["kind"] == "predict"
