"""Pausing, resuming, saving and deleting jobs."""

from typing import Any

from flask.testing import FlaskClient

from shared import store


def test_a_waiting_job_that_is_paused_is_not_claimed_until_it_is_resumed(
    client: FlaskClient, submitted: str, worker: Any
) -> None:
    url = f"/v1/jobs/{submitted}"
    paused = client.post(f"{url}/pause").json
    assert (paused["state"], paused["paused"]) == ("queued", True)
    assert client.get(url).json["waiting_reason"] == "It is paused until somebody resumes it."
    assert worker.claim() is None
    assert client.post(f"{url}/pause").status_code == 200

    answer = client.post(f"{url}/resume")
    assert (answer.status_code, answer.json["id"], answer.json["paused"]) == (200, submitted, False)
    assert worker.claim().job_id == submitted
    assert client.post(f"{url}/resume").status_code == 409


def test_what_has_ended_is_neither_paused_nor_saved(client: FlaskClient, submitted: str) -> None:
    url = f"/v1/jobs/{submitted}"
    assert client.post(f"{url}/checkpoint").status_code == 409
    client.post(f"{url}/cancel")
    for verb in ("pause", "checkpoint", "resume"):
        answer = client.post(f"{url}/{verb}")
        assert answer.status_code == 409
        assert submitted in answer.json["detail"]


def test_a_deleted_job_is_a_tombstone(client: FlaskClient, submitted: str, app: Any, volume: Any) -> None:
    url = f"/v1/jobs/{submitted}"
    assert client.delete(url).status_code == 409
    client.post(f"{url}/cancel")
    log = volume / store.log_path(submitted, 1)
    log.parent.mkdir(parents=True)
    log.write_text("said")

    gone = client.delete(url).json
    assert gone["deleted_at"]
    assert not log.exists()
    assert client.get(url).json["state"] == "cancelled"
    assert client.get("/v1/jobs").json["data"] == []
    assert client.delete(url).json["deleted_at"] == gone["deleted_at"]
    assert client.post(f"{url}/retry").status_code == 409
    assert client.delete("/v1/jobs/job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21").status_code == 404
