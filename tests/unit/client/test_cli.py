import json
import threading
import time

import pytest
from click.testing import CliRunner

from fitq.cli import COMMANDS, Failure, cli
from fitq.errors import FieldProblem, Invalid

ENDED = {"started_at": "2026-01-01T00:00:01Z", "finished_at": "2026-01-01T00:01:06Z"}


@pytest.fixture
def run(server):
    def run(*args, **kwargs):
        return CliRunner().invoke(cli, [str(arg) for arg in args], **kwargs)

    return run


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"kind": "train", "model": {}, "fit": {"epochs": 2}, "tags": {"a": "1"}}))
    return path


def meanwhile(server, act):
    """Do something once a watcher listens."""

    def wait():
        while not server.streams:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# --- submit ---


def test_submit_prints_the_id_alone(run, server, spec_file):
    done = run("submit", spec_file)
    assert done.exit_code == 0
    assert done.stdout.split() == list(server.jobs)
    assert done.stderr == ""


def test_submit_takes_what_the_command_line_says(run, server, spec_file):
    done = run("submit", spec_file, "--name", "n", "--priority", "-5", "--tag", "b=2=3", "-o", "json")
    job = json.loads(done.stdout)
    assert job["spec"]["name"] == "n"
    assert job["spec"]["priority"] == -5
    assert job["spec"]["tags"] == {"a": "1", "b": "2=3"}


def test_submit_reads_standard_input(run, server):
    assert run("submit", "-", input="kind: train\nmodel: {}\n").exit_code == 0
    assert run("submit", "-", input='{"kind": "train", "model": {}}').exit_code == 0
    assert len(server.jobs) == 2


def test_submit_says_which_fields_are_wrong(run):
    done = run("submit", "-", input="kind: train")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "Error: /model: field required",
        "  /model: field required",
        "  x: is wrong",
    ]


@pytest.mark.parametrize(
    ("message", "fields", "lines"),
    [
        ("The spec is wrong: /a: too big", [("/a", "too big")], ["The spec is wrong: /a: too big"]),
        ("No architecture.", [("/architecture", "No architecture.")], ["/architecture: No architecture."]),
        ("The spec is wrong.", [("/a", "too big")], ["The spec is wrong.", "  /a: too big"]),
        ("/a: no (and 1 more)", [("/a", "no"), ("", "odd")], ["/a: no (and 1 more)", "  /a: no", "  /: odd"]),
        ("Not now.", [], ["Not now."]),
    ],
)
def test_what_is_wrong_is_said_once(capsys, message, fields, lines):
    Failure(Invalid(message, fields=tuple(FieldProblem(*field) for field in fields))).show()
    assert capsys.readouterr().err.splitlines() == [f"Error: {lines[0]}", *lines[1:]]


def test_submit_says_where_a_file_is_wrong(run, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("kind: train\nmodel: [\n")
    done = run("submit", path)
    assert done.exit_code == 1
    assert f"{path}:3:1: this is no YAML" in done.stderr
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in run("submit", path).stderr
    assert "No such file" in run("submit", tmp_path / "none.json").stderr


def test_check_queues_nothing(run, server, spec_file):
    done = run("submit", spec_file, "--check")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "parameters    1234",
        "memory_mb     300",
        "disk_bytes    7.3 MB",
        "output_shape  [null, 10]",
    ]
    assert json.loads(run("submit", spec_file, "--check", "-o", "json").stdout)["parameters"] == 1234
    assert not server.jobs
    assert run("submit", spec_file, "--check", "--watch").exit_code == 2


@pytest.mark.parametrize("wrong", [["--tag", "x"], ["--priority", "101"], ["--timeout", "0"], ["--nothing"]])
def test_wrong_usage_is_2(run, spec_file, wrong):
    assert run("submit", spec_file, *wrong).exit_code == 2


def test_submit_and_watch(run, server, spec_file):
    def act():
        (job_id,) = server.jobs
        server.run(job_id)
        server.epoch(job_id, 0, loss=0.5, accuracy=0.75)
        server.epoch(job_id, 1, loss=0.25, accuracy=0.875)
        server.end(job_id, "succeeded", value={"epochs": 2, "metrics": {"loss": 0.25}})

    thread = meanwhile(server, act)
    done = run("submit", spec_file, "--watch")
    thread.join()
    assert done.exit_code == 0
    assert [" ".join(one.split()) for one in done.stdout.splitlines()] == [
        "EPOCH loss accuracy",
        "1 0.5000 0.7500",
        "2 0.2500 0.8750",
        "epochs 2",
        "metrics.loss 0.2500",
    ]
    (job_id,) = server.jobs
    assert done.stderr.splitlines()[0] == f"Job {job_id}"
    assert "Epoch 2/2  loss 0.2500  accuracy 0.8750" in done.stderr
    assert done.stderr.splitlines()[-1] == f"Job {job_id} succeeded after 4.0s."


# --- watch ---


def test_watch_leaves_with_the_end_of_the_job(run, server):
    failed, wrong, cancelled = server.add(1), server.add(2), server.add(3)
    server.end(failed, "failed", error={"code": "stalled", "message": "No step was finished."})
    server.end(wrong, "failed", error={"code": "bad_data", "message": "x.csv has no rows."})
    server.end(cancelled, "cancelled")
    done = run("watch", failed)
    assert done.exit_code == 3
    assert "Error: No step was finished. (stalled)" in done.stderr
    assert f"fitq retry {failed}" in done.stderr
    done = run("watch", wrong)
    assert done.exit_code == 3
    assert "Error: x.csv has no rows. (bad_data)" in done.stderr
    assert f"`fitq logs {wrong}`. A retry alone would end the same: mend the data and submit again." in done.stderr
    assert "fitq retry" not in done.stderr
    assert run("watch", cancelled).exit_code == 4


def test_watch_waits_no_longer_than_told(run, server):
    job_id = server.add()
    done = run("watch", job_id, "--timeout", "0.1")
    assert done.exit_code == 124
    assert "it goes on" in done.stderr


def test_watch_as_json_is_one_document(run, server):
    job_id = server.add()
    server.epoch(job_id, 0, loss=1.0)
    server.end(job_id, "succeeded", value={"loss": 1.0})
    said = json.loads(run("watch", job_id, "-o", "json").stdout)
    assert said["state"] == "succeeded"
    assert said["result"]["value"] == {"loss": 1.0}


def test_watch_shows_the_last_epochs_only(run, server):
    job_id = server.add()
    for epoch in range(25):
        server.epoch(job_id, epoch, loss=1.0)
    server.end(job_id, "succeeded", value={})
    done = run("watch", job_id)
    assert [one.split()[0] for one in done.stdout.splitlines()] == ["EPOCH", *map(str, range(6, 26))]
    assert "The last 20 of 25 epochs" in done.stderr


# --- lists ---


def test_jobs(run, server):
    server.add(1, name="a", progress={"phase": "train", "epoch": 2, "epochs": 10}, state="running")
    server.add(2, tags={"team": "vision"}, name="b\x1b[2J[red]c")
    done = run("jobs")
    header, newest, oldest = done.stdout.splitlines()
    assert header.split() == ["ID", "STATE", "KIND", "EPOCH", "AGE", "NAME", "TAGS"]
    assert newest.split()[:3] == ["job_0193a2c4-7a3e-7c51-b2f0-000000000002", "queued", "train"]
    assert newest.endswith("b[red]c  team=vision")
    assert "2/10" in oldest
    assert [job["name"] for job in json.loads(run("jobs", "--state", "running", "-o", "json").stdout)] == ["a"]
    assert len(json.loads(run("jobs", "--tag", "team=vision", "-o", "json").stdout)) == 1
    assert run("jobs", "--state", "lost").exit_code == 2


def test_jobs_says_that_there_are_more_or_none(run, server):
    assert "There is no such job" in run("jobs").stderr
    for number in range(1, 5):
        server.add(number)
    done = run("jobs", "--limit", "3", "-o", "json")
    assert len(json.loads(done.stdout)) == 3
    assert "There are more" in done.stderr
    assert run("jobs", "--limit", "4").stderr == ""


def test_workers(run):
    assert "w1" in run("workers").stdout
    assert json.loads(run("workers", "-o", "json").stdout)[0]["lanes"] == ["cpu"]


# --- one job ---


def test_show(run, server):
    job_id = server.add(name="n", tags={"team": "vision"}, error={"code": "crashed", "message": "It died."}, **ENDED)
    shown = run("show", job_id).stdout
    assert "It is next: a slot is about to take it." in shown
    for said in ("tag team", "vision", "It died. (crashed)", "1m 5s"):
        assert said in shown
    assert json.loads(run("show", job_id, "-o", "json").stdout) == server.jobs[job_id]


def test_show_tells_the_attempts(run, server):
    job_id = server.add(state="running", attempt=2)
    error = {"code": "crashed", "message": "It died."}
    times = {"started_at": ENDED["started_at"], "ended_at": ENDED["finished_at"]}
    first = {"attempt": 1, "worker": "w1", "outcome": "failed", "error": error, "resumed_epoch": None, **times}
    second = {"attempt": 2, "worker": "w2", "outcome": None, "error": None, "resumed_epoch": 3, **times}
    server.attempts[job_id] = [first, second | {"ended_at": None}]

    shown = [" ".join(line.split()) for line in run("show", job_id).stdout.splitlines()]

    assert "attempt 1 failed after 1m 5s on w1: It died. (crashed)" in shown
    assert "attempt 2 runs on w2 from epoch 4" in shown


def test_an_id_may_be_shortened(run, server):
    first, second = server.add(0xABC001), server.add(0xABC002, name="two")
    for said in (first, first[4:], first[-6:], "…" + first[-12:], first[-8:].upper()):
        assert json.loads(run("show", said, "-o", "json").stdout)["id"] == first
    done = run("show", "job_0193a2c4")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "Error: 'job_0193a2c4' may be any of 2 jobs:",
        f"  {second}  queued  two",
        f"  {first}  queued",
    ]
    assert "There is no job 'nothing'" in run("show", "nothing").stderr


def test_logs(run, server):
    job_id = server.add()
    server.logs = {(job_id, None): "new\x1b[2J\n", (job_id, "1"): "old"}
    assert run("logs", job_id).stdout == "new\n"
    assert run("logs", job_id, "--attempt", 1).stdout == "old\n"
    run("logs", job_id, "--tail", 5)
    assert server.requests[-1][1].endswith("/logs?tail=5")


def test_metrics_and_history(run, server):
    job_id = server.add()
    server.epoch(job_id, 0, loss=0.5)
    server.metrics[job_id].append({"epoch": 1, "name": "loss", "value": None, "value_kind": "nan"})
    assert [one.split() for one in run("metrics", job_id).stdout.splitlines()] == [
        ["EPOCH", "loss"],
        ["1", "0.5000"],
        ["2", "nan"],
    ]
    assert json.loads(run("metrics", job_id, "-o", "json").stdout)[1]["value_kind"] == "nan"
    assert json.loads(run("history", job_id, "-o", "json").stdout) == {"loss": [0.5, None]}
    assert run("history", job_id).stdout.split() == ["loss", "0.5000", "not", "finite"]


def test_result(run, server):
    done, failed, waits = server.add(1), server.add(2), server.add(3)
    server.end(done, "succeeded", value={"loss": 0.5, "accuracy": 0.9})
    server.end(failed, "failed", error={"code": "crashed", "message": "x"})
    assert run("result", done).stdout.split() == ["loss", "0.5000", "accuracy", "0.9000"]
    assert json.loads(run("result", done, "-o", "json").stdout)["value"]["accuracy"] == 0.9
    assert run("result", failed).exit_code == 3
    assert run("result", waits).exit_code == 1


def test_cancel_and_retry(run, server):
    job_id = server.add(state="running")
    done = run("cancel", job_id)
    assert done.stdout == f"{job_id} running\n"
    assert "after this epoch" in done.stderr
    assert server.jobs[job_id]["cancel_requested"] == "after_epoch"
    run("cancel", job_id, "--now", "-o", "json")
    assert server.jobs[job_id]["cancel_requested"] == "now"
    server.end(job_id, "cancelled")
    refused = run("cancel", job_id)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "has cancelled already" in refused.stderr
    assert run("retry", job_id).stdout == f"{job_id} queued\n"


def test_checkpoints(run, server, tmp_path, monkeypatch):
    job_id = server.add()
    server.files["best"] = b"12345"
    assert "epoch-1" in run("checkpoints", job_id).stdout
    assert json.loads(run("checkpoints", job_id, "-o", "json").stdout)[0]["step"] == 20
    target = tmp_path / "x.npz"
    assert run("checkpoints", job_id, "--download", "best", "-O", target).stdout == f"{target}\n"
    assert target.read_bytes() == b"12345"
    monkeypatch.chdir(tmp_path)
    assert run("checkpoints", job_id, "--download", "best").stdout == "000000000001-best.npz\n"
    assert "No such file" in run("checkpoints", job_id, "--download", "best", "-O", tmp_path / "no" / "x").stderr
    assert run("checkpoints", job_id, "-O", target).exit_code == 2


def test_predictions_are_a_table(run, server, tmp_path):
    job_id = server.add(spec={"kind": "predict"})
    top = [
        [{"class": 9, "name": "Ankle boot", "probability": 0.98}, {"class": 7, "name": "Sneaker", "probability": 0.01}]
    ]
    server.end(job_id, "succeeded", value={"rows": 25, "top": top * 25, "classes": [9] * 25})
    server.files["predictions.npz"] = b"npz"
    done = run("result", job_id)
    assert " ".join(done.stdout.splitlines()[1].split()) == "0 Ankle boot (0.9800) Sneaker (0.0100)"
    assert len(done.stdout.splitlines()) == 21
    assert "The first 20 of 25 rows" in done.stderr
    target = tmp_path / "p.npz"
    assert run("result", job_id, "--download", "predictions.npz", "-O", target).stdout == f"{target}\n"
    assert target.read_bytes() == b"npz"


def test_a_measure_that_is_not_finite_is_named(run, server):
    job_id = server.add(spec={"kind": "evaluate"})
    value = {"rows": 10, "metrics": {"loss": None, "accuracy": 0.5}, "value_kinds": {"loss": "nan"}}
    server.end(job_id, "succeeded", value=value)
    assert run("result", job_id).stdout.split() == ["rows", "10", "metrics.loss", "nan", "metrics.accuracy", "0.5000"]


# --- the whole command ---


def test_a_server_that_is_not_there(run, monkeypatch):
    done = run("--url", "http://127.0.0.1:1", "jobs")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: No fitq server answers at http://127.0.0.1:1. Start one with `fitq up`")
    assert run("--url", "nonsense", "jobs").exit_code == 1


@pytest.mark.parametrize(("typed", "meant"), [("job", "jobs"), ("wach", "watch"), ("cancle", "cancel")])
def test_a_mistyped_command_is_recognized(run, typed, meant):
    done = run(typed)
    assert done.exit_code == 2
    assert f"'{meant}'" in done.stderr


def test_help_says_of_each_command_what_it_says_of_itself():
    for name, (_, said) in COMMANDS.items():
        assert cli.get_command(None, name).get_short_help_str(200) == said
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert shown.exit_code == 0
        assert said in CliRunner().invoke(cli, ["--help"]).stdout
