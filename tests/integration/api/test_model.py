"""A job's model in another format, over HTTP: one export for all who ask, and what is said when there is none."""

import hashlib

import pytest

from shared import db, exports, jobs, upkeep
from shared.states import Failure


@pytest.fixture
def trained(client, worker, spec):
    """The id of a job that has ended with two checkpoints."""
    job_id = client.post("/v1/jobs", json=spec).json["id"]
    attempt = worker.claim()
    for step in (1, 2):
        worker.checkpoint(attempt, f"epoch-{step - 1}", b"x" * step, step=step)
    worker.succeed(attempt, final="epoch-1")
    worker.ready()
    return job_id


def write(worker, content=b"a model"):
    def work(attempt):
        worker.artifact(attempt, "model.h5", content)
        worker.succeed(attempt, format="h5")

    return work


def test_a_model_is_written_once_for_all_who_ask_for_it(client, worker, trained):
    url = f"/v1/jobs/{trained}/model?as=h5"
    early = client.get(url, headers={"Prefer": "wait=0"})
    assert (early.status_code, early.json["state"], early.json["format"]) == (202, "queued", "h5")
    assert early.headers["Location"] == f"/v1/jobs/{trained}/model?as=h5&checkpoint=final"
    assert early.headers["Retry-After"] == "1"

    thread = worker.in_background("interactive", write(worker))
    answer = client.get(url)
    thread.join()
    assert (answer.status_code, answer.data) == (200, b"a model")
    assert answer.headers["ETag"] == f'"{hashlib.sha256(b"a model").hexdigest()}"'
    assert answer.headers["Repr-Digest"].startswith("sha-256=:")
    assert answer.headers["Content-Disposition"] == f"attachment; filename={trained}-final.h5"

    # The final checkpoint is epoch 1: no further export, and no worker, is needed.
    worker.ready(state="gone")
    for name in ("final", "1", "epoch-1", "last"):
        same = client.get(f"{url}&checkpoint={name}", headers={"Range": "bytes=0-0"})
        assert (same.status_code, same.data) == (206, b"a")
    assert client.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert worker.claim("interactive") is None
    assert [one["id"] for one in client.get("/v1/jobs").json["data"]] == [trained], "exports are not listed"


def test_while_it_is_written_its_checkpoint_is_pinned_and_it_is_nobodys_job(client, worker, engine, trained):
    client.get(f"/v1/jobs/{trained}/model?as=keras&checkpoint=0", headers={"Prefer": "wait=0"})
    attempt = worker.claim("interactive")

    assert (attempt.kind, attempt.spec["format"], attempt.source["checkpoint"]) == ("export", "keras", "epoch-0")
    assert client.get(f"/v1/jobs/{attempt.job_id}").status_code == 404
    assert client.get(f"/v1/jobs/{attempt.job_id}/model?as=h5").status_code == 404
    from shared import checkpoints

    with db.read(engine) as connection:
        assert attempt.source["file"]["sha256"] in checkpoints._pinned(connection, trained)


def test_a_format_that_cannot_hold_the_model_says_why_and_is_tried_anew_later(client, worker, engine, trained):
    url = f"/v1/jobs/{trained}/model?as=tflite"
    sentence = "The model cannot be written as tflite: no such operation."
    thread = worker.in_background("interactive", lambda one: worker.fail(one, Failure.BAD_SPEC, sentence))
    answer = client.get(url)
    thread.join()
    assert (answer.status_code, answer.json["detail"]) == (422, sentence)
    assert client.get(url).status_code == 422, "told again, not tried again"
    assert worker.claim("interactive") is None

    from shared.clock import after

    with db.write(engine) as connection:
        failed = jobs.jobs.c.state == "failed"
        connection.execute(jobs.sa.update(jobs.jobs).where(failed).values(finished_at=after(-61)))
    assert client.get(url, headers={"Prefer": "wait=0"}).status_code == 202
    assert worker.claim("interactive") is not None


def test_a_file_that_is_pruned_while_it_is_asked_for_is_asked_for_again(client, worker, trained, monkeypatch):
    url = f"/v1/jobs/{trained}/model?as=h5"
    thread = worker.in_background("interactive", write(worker))
    assert client.get(url).status_code == 200
    thread.join()
    request = exports.request

    def pruned_then(engine, spec):
        found = request(engine, spec)
        with db.write(engine) as connection:
            upkeep.delete(connection, found.job_id)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(exports, "request", pruned_then)
        answer = client.get(url)
    assert (answer.status_code, answer.json["detail"]) == (503, "The file was removed just now; ask again.")
    assert client.get(url, headers={"Prefer": "wait=0"}).status_code == 202


def test_what_is_not_there_is_said(client, worker, spec, trained, submitted):
    for query, status, says in [
        ("as=h5&checkpoint=7", 404, "(any more)"),
        ("as=h5&checkpoint=soon", 400, "checkpoint"),
        ("as=hdf", 400, "'weights.h5'"),
        ("", 400, "as"),
    ]:
        answer = client.get(f"/v1/jobs/{trained}/model?{query}")
        assert answer.status_code == status
        assert says in answer.json["detail"]
    answer = client.get(f"/v1/jobs/{submitted}/model?as=h5")
    assert (answer.status_code, "queued" in answer.json["detail"]) == (409, True)

    worker.ready(lanes=("cpu",))
    answer = client.get(f"/v1/jobs/{trained}/model?as=h5")
    assert (answer.status_code, "interactive" in answer.json["detail"]) == (503, True)
