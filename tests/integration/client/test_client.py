"""The client and the command line against the API as it is."""

import json
import math
import threading

import pytest
from click.testing import CliRunner

from fitq import errors
from fitq.cli import cli
from shared.states import Failure


@pytest.fixture
def run(url):
    def run(*args, **kwargs):
        return CliRunner().invoke(cli, [str(arg) for arg in args], **kwargs)

    return run


def test_a_job_from_submit_to_result(queue, worker, spec):
    job = queue.submit(spec)
    assert (job.state, job.name) == ("queued", "digits-mlp")
    worker.claim()
    worker.epoch(0, loss=0.5, accuracy=0.75)
    worker.epoch(1, loss=math.nan, accuracy=0.5)
    worker.succeed(epochs=2)
    events = list(job.events())
    assert [event.type for event in events] == ["state", "state", "epoch", "epoch", "state", "job"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, None]
    assert events[3].data["metrics"] == {"loss": None, "accuracy": 0.5}
    assert job.state == "succeeded"
    assert job.result()["value"] == {"epochs": 2}
    assert job.history() == {"accuracy": [0.75, 0.5], "loss": [0.5, None]}
    kinds = {(row["epoch"], row["name"]): row["value_kind"] for row in job.metrics()}
    assert kinds[1, "loss"] == "nan"


def test_the_same_key_never_makes_two_jobs(queue, spec):
    first = queue.submit(spec, idempotency_key="k")
    assert queue.submit(spec, idempotency_key="k").id == first.id
    with pytest.raises(errors.Problem, match="Idempotency-Key"):
        queue.submit(spec | {"seed": 8}, idempotency_key="k")
    assert len(list(queue.jobs())) == 1


def test_events_come_as_they_happen(queue, worker, spec):
    job = queue.submit(spec)
    heard = []
    reached = threading.Condition()

    def listen():
        for event in job.events():
            with reached:
                heard.append(event)
                reached.notify()

    def wait_for(kind):
        with reached:
            assert reached.wait_for(lambda: any(event.type == kind for event in heard), timeout=60)

    listener = threading.Thread(target=listen)
    listener.start()
    wait_for("state")
    worker.claim()
    worker.progress(phase="training", epoch=0, epochs=3, step=5, steps=10, metrics={"loss": 0.9})
    wait_for("progress")
    worker.epoch(0, loss=0.5)
    wait_for("epoch")
    job.cancel()
    wait_for("cancel_requested")
    worker.cancelled()
    listener.join()
    assert heard[-1].data["state"] == "cancelled"
    assert next(event for event in heard if event.type == "progress").data["steps"] == 10
    assert [event.seq for event in heard if event.seq] == [1, 2, 3, 4, 5]


def test_wrong_fields_are_named(queue, spec, run):
    with pytest.raises(errors.Invalid) as caught:
        queue.submit(spec | {"fit": {"epochs": 0}, "colour": "red"})
    assert {field.pointer for field in caught.value.fields} == {"/fit/epochs", "/colour"}
    done = run("submit", "-", input=json.dumps(spec | {"fit": {"epochs": "ten"}}))
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: The job spec is wrong: /fit/epochs: ")


def test_a_wrong_filter_is_named(queue):
    with pytest.raises(errors.Invalid, match="lane") as caught:
        list(queue.jobs(lane="fast"))
    assert caught.value.fields[0].pointer == "lane"


def test_lists_and_filters(queue, spec, run):
    ids = [queue.submit(spec | {"name": f"n{number}", "tags": {"n": str(number % 2)}}).id for number in range(5)]
    assert [job.id for job in queue.jobs()] == ids[::-1]
    assert [job.id for job in queue.jobs(tags={"n": "1"})] == [ids[3], ids[1]]
    assert [job.id for job in queue.jobs(states=["queued", "running"], kind="train", lane="cpu", name="n2")] == [ids[2]]
    assert [job.id for job in queue.jobs(limit=2)] == ids[:2:-1]
    done = run("jobs", "--tag", "n=0", "--limit", "2", "-o", "json")
    assert [job["id"] for job in json.loads(done.stdout)] == [ids[4], ids[2]]
    assert "There are more" in done.stderr
    assert json.loads(run("show", ids[0][-12:], "-o", "json").stdout)["spec"]["name"] == "n0"
    assert "No worker serves lane 'cpu'" in run("show", ids[0]).stdout


def test_pages_follow_each_other(queue, spec, monkeypatch):
    monkeypatch.setattr("fitq.jobs.PAGE", 2)
    ids = [queue.submit(spec).id for _ in range(5)]
    assert [job.id for job in queue.jobs()] == ids[::-1]
    assert [job.id for job in queue.jobs(limit=3)] == ids[:1:-1]


def test_submit_and_watch_on_the_command_line(run, worker, spec, queue):
    def play():
        while not list(queue.jobs()):
            threading.Event().wait(0.01)
        worker.claim()
        worker.epoch(0, loss=0.5)
        worker.epoch(1, loss=0.4)
        worker.fail(Failure.CRASHED, "The runner was killed.")
        worker.claim()
        worker.resume(1)
        worker.epoch(1, loss=0.25)
        worker.succeed(epochs=2)

    thread = threading.Thread(target=play)
    thread.start()
    done = run("submit", "-", "--watch", input=json.dumps(spec))
    thread.join()
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    for line in (
        "Attempt 1 ended: The runner was killed.",
        "Attempt 2 resumed from epoch 1.",
        "Epoch 2/3  loss 0.2500",
    ):
        assert line in said
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["EPOCH", "loss"],
        ["1", "0.5000"],
        ["2", "0.2500"],
        ["epochs", "2"],
    ]


def test_a_failed_job_and_its_retry(run, worker, spec, queue):
    job = queue.submit(spec)
    worker.claim()
    worker.log("one\ntwo\x1b[2J\nthree\n")
    worker.fail(Failure.NAN_LOSS, "The loss became NaN.")
    done = run("watch", job.id)
    assert done.exit_code == 3
    assert "The loss became NaN. (nan_loss)" in done.stderr
    assert run("result", job.id).exit_code == 3
    assert run("logs", job.id, "--tail", "2").stdout == "two\nthree\n"
    assert run("cancel", job.id).exit_code == 1
    assert run("retry", job.id).stdout == f"{job.id} queued\n"
    assert run("logs", job.id, "--attempt", "1").stdout == "one\ntwo\nthree\n"
    assert run("cancel", job.id).stdout == f"{job.id} cancelled\n"
    assert run("watch", job.id).exit_code == 4


def test_checkpoints_are_downloaded_whole(run, worker, spec, queue, tmp_path):
    job = queue.submit(spec)
    worker.claim()
    worker.checkpoint("epoch-0", b"weights" * 100_000)
    assert "epoch-0" in run("checkpoints", job.id).stdout
    target = tmp_path / "best.npz"
    assert run("checkpoints", job.id, "--download", "best", "-O", target).exit_code == 0
    assert target.read_bytes() == b"weights" * 100_000
    job.download_checkpoint("0", target)
    missing = run("checkpoints", job.id, "--download", "final", "-O", tmp_path / "final.npz")
    assert missing.exit_code == 1
    assert "has no checkpoint 'final'" in missing.stderr
    assert not (tmp_path / "final.npz").exists()


def test_a_check_needs_a_worker_to_say_more(run, spec, queue):
    done = run("submit", "-", "--check", input=json.dumps(spec))
    assert done.exit_code == 1
    assert "The spec is valid as far as can be told" in done.stderr
    assert list(queue.jobs()) == []


def test_a_job_that_is_not_there(run, queue):
    gone = "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"
    assert f"There is no job {gone}" in run("show", gone).stderr
    assert "There is no job 'abcdef'" in run("show", "abcdef").stderr


def test_workers_and_queues(run, queue):
    assert "No worker is there" in run("workers").stderr
    assert {one["lane"] for one in queue.queues()} == {"cpu", "gpu", "interactive"}


def test_logs_are_followed_through_the_attempts(run, worker, spec, queue):
    job = queue.submit(spec)
    worker.claim()
    worker.log("one\ntwo\x1b[2J\n")
    worker.fail(Failure.CRASHED, "The runner was killed.")
    worker.claim()
    worker.log("three")
    worker.succeed()

    done = run("logs", "-f", job.id, "--attempt", "1", "--tail", "1")

    assert (done.exit_code, done.stdout) == (0, "two\nthree")
    assert "--- attempt 2 ---" in done.stderr
    assert [one["outcome"] for one in job.attempts()] == ["failed", "succeeded"]
    assert job.artifacts() == []
