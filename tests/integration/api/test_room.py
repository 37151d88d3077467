"""A volume that holds what it may takes nothing more, says what to do, and takes again when that is done."""

import hashlib
from types import SimpleNamespace

import pytest

from shared import db, jobs, wishes
from shared import spec as specs
from shared.states import CancelMode
from shared.volume import usage

MB = 1 << 20
CONTENT = b"x" * MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def settings(settings):
    """An installation that allows 1 MiB."""
    return settings.model_copy(update={"volume_max_mb": 1})


@pytest.fixture
def full(client):
    """The client of a full volume."""
    sent = client.post("/v1/uploads", data=CONTENT, content_type="application/octet-stream")
    assert sent.status_code == 201
    return client


def refused(response):
    assert response.content_type == "application/problem+json"
    assert (response.status_code, response.json["code"]) == (507, "disk_full")
    return response.json["detail"]


def test_a_full_volume_takes_no_jobs_and_says_what_to_do(full, spec):
    assert refused(full.post("/v1/jobs", json=spec)) == (
        "The volume holds 1.0 MB of jobs and uploads, and FITQ_VOLUME_MAX_MB allows 1.0 MB: "
        "delete jobs (`fitq delete JOB`) or uploads that nobody needs."
    )

    assert full.delete(f"/v1/uploads/{SHA256}").status_code == 204
    assert full.post("/v1/jobs", json=spec).status_code == 201


def test_it_takes_no_uploads_but_those_that_are_there(full):
    other = b"y" * 1000
    asked = {"sha256": hashlib.sha256(other).hexdigest(), "bytes": len(other)}
    assert "allows 1.0 MB" in refused(full.post("/v1/uploads", json=asked))
    refused(full.post("/v1/uploads", data=other, content_type="application/octet-stream"))

    assert full.post("/v1/uploads", json={"sha256": SHA256, "bytes": MB}).status_code == 200


def test_an_upload_that_would_not_fit_is_refused_before_it_comes(client):
    asked = {"sha256": "a" * 64, "bytes": MB + 1}
    assert "1.0 MB are to come" in refused(client.post("/v1/uploads", json=asked))


def test_a_job_that_was_taken_before_is_answered_and_one_that_leaves_nothing_is_taken(client, spec):
    key = {"Idempotency-Key": "one"}
    assert client.post("/v1/jobs", json=spec, headers=key).status_code == 201
    client.post("/v1/uploads", data=CONTENT, content_type="application/octet-stream")

    assert client.post("/v1/jobs", json=spec, headers=key).status_code == 200
    measured = {key: spec[key] for key in ("model", "compile")} | {"data": {"test": spec["data"]["train"]}}
    assert client.post("/v1/jobs", json={"kind": "evaluate", **measured}).status_code == 201


def test_an_ended_job_is_not_trained_on_in_a_full_volume(full, engine, spec):
    with db.write(engine) as connection:
        job = jobs.submit(connection, specs.parse(spec)).job_id
        wishes.cancel(connection, job, CancelMode.NOW)

    refused(full.post(f"/v1/jobs/{job}/resume", json={"epochs": 9}))


def test_a_disk_without_room_takes_no_jobs(client, spec, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(usage.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * MB))
        assert "The volume's disk has 5.0 MB left: delete jobs" in refused(client.post("/v1/jobs", json=spec))
    assert client.post("/v1/jobs", json=spec).status_code == 201
