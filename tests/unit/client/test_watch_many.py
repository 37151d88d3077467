"""`fitq watch` over several jobs at once."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner

import fitq
from fitq import errors
from fitq.cli import cli
from fitq.together import together

RUN = "import sys; from fitq.cli import cli; sys.argv[0] = 'fitq'; cli(prog_name='fitq')"


@pytest.fixture
def run(server):
    def run(*args, **kwargs):
        return CliRunner().invoke(cli, [str(arg) for arg in args], **kwargs)

    return run


def command(*args, **options):
    return subprocess.Popen([sys.executable, "-c", RUN, *args], text=True, **options)


def meanwhile(server, streams, act):
    """Do something once so many streams are open."""

    def wait():
        while len(server.streams) < streams:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_several_jobs_are_followed_at_once_to_the_end_of_all(run, server):
    first, second = server.add(1, name="mlp"), server.add(2)

    def act():
        server.run(second)
        server.run(first)
        server.epoch(second, 0, loss=0.5)
        server.epoch(first, 0, loss=0.25)
        server.end(second, "succeeded", value={})
        server.epoch(first, 1, loss=0.125)
        server.end(first, "succeeded", value={"loss": 0.125})

    thread = meanwhile(server, 2, act)
    done = run("watch", first, second, first)
    thread.join()

    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert said[:2] == [f"Job {first}  mlp", f"Job {second}"]
    for number, line in (
        (1, "Attempt 1 runs."),
        (1, "Epoch 2/3  loss 0.1250"),
        (2, "Epoch 1/3  loss 0.5000"),
        (1, "succeeded after 4.0s."),
        (2, "succeeded after 4.0s."),
    ):
        assert f"{number:012x}  {line}" in said
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["ID", "STATE", "EPOCHS", "TOOK", "METRICS", "NAME"],
        [first, "succeeded", "2/3", "4.0s", "loss", "0.1250", "mlp"],
        [second, "succeeded", "1/3", "4.0s", "loss", "0.5000"],
    ]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["succeeded", "succeeded"], 0),
        (["succeeded", "cancelled"], 4),
        (["failed", "succeeded"], 3),
        (["cancelled", "failed", "succeeded"], 3),
    ],
)
def test_the_worst_end_is_the_exit_code(run, server, states, code):
    ids = [server.add(number) for number in range(1, len(states) + 1)]
    for job_id, state in zip(ids, states, strict=True):
        error = {"code": "nan_loss", "message": "The loss became NaN."} if state == "failed" else None
        server.end(job_id, state, error=error, value={} if state == "succeeded" else None)

    done = run("watch", *ids)

    assert done.exit_code == code
    assert ("Error: The loss became NaN. (nan_loss)" in done.stderr) == ("failed" in states)


def test_several_jobs_as_json_are_one_document(run, server):
    ids = [server.add(1), server.add(2)]
    server.end(ids[0], "succeeded", value={"loss": 1.0})
    server.end(ids[1], "cancelled")

    told = json.loads(run("watch", *ids, "-o", "json").stdout)

    assert [one["id"] for one in told] == ids
    assert [one["result"] and one["result"]["value"] for one in told] == [{"loss": 1.0}, None]


def test_one_job_that_is_not_there_is_said_before_anything_is_watched(run, server):
    done = run("watch", server.add(1), "job_0193a2c4-7a3e-7c51-b2f0-00000000000f")
    assert done.exit_code == 1
    assert not server.streams
    assert run("watch").exit_code == 2


def test_several_jobs_are_waited_for_no_longer_than_told(run, server):
    ids = [server.add(1), server.add(2)]
    server.end(ids[0], "succeeded")
    done = run("watch", *ids, "--timeout", "0.3")
    assert done.exit_code == 124
    assert f"Job {ids[1]} is queued" in done.stderr


def test_no_thread_outlives_the_watching(server):
    with fitq.connect() as queue:
        jobs = [queue.job(server.add(number)) for number in (1, 2, 3)]
        with together(jobs) as events:
            next(events)
        assert not [one for one in threading.enumerate() if one.name.startswith("fitq-")]


def test_an_error_of_one_ends_the_watching_of_all(server, monkeypatch):
    with fitq.connect() as queue:
        jobs = [queue.job(server.add(number)) for number in (1, 2)]
        del server.jobs[jobs[1].id]
        with together(jobs) as events, pytest.raises(errors.NotFound):
            list(events)


def test_ctrl_c_lets_all_jobs_go_on_and_says_how_to_come_back(server):
    ids = [server.add(number) for number in (1, 2, 3)]
    server.end(ids[0], "succeeded")
    for job_id in ids[1:]:
        server.run(job_id)
    with command("watch", *ids, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        waited_for = {f"{1:012x}  succeeded after 4.0s.\n", *(f"{n:012x}  Attempt 1 runs.\n" for n in (2, 3))}
        for line in watcher.stderr:
            waited_for.discard(line)
            if not waited_for:
                break
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate()
    assert watcher.returncode == 130
    assert out == ""
    assert "the jobs go on" in err
    assert f"fitq watch {ids[1]} {ids[2]}\n" in err
    assert "Traceback" not in err
    assert not server.sent("POST", "/cancel")


def test_a_terminal_sees_a_bar_for_each_job(server):
    ids = [server.add(number) for number in (1, 2)]
    for job_id in ids:
        server.run(job_id)
        server.epoch(job_id, 0, loss=0.5)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    shown = b""

    def bars():
        drawn = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode(errors="replace"))
        return {number for number in (1, 2) if re.search(rf"{number:012x} [^\r\n]*━[^\r\n]* 1/3 ", drawn)}

    with command("watch", *ids, env=environment, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and select.select([ours], [], [], 30)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
            if bars() == {1, 2}:
                for job_id in ids:
                    if server.jobs[job_id]["state"] == "running":
                        server.end(job_id, "succeeded", value={})
        if time.monotonic() >= deadline:
            process.kill()
        os.close(ours)
    assert process.returncode == 0
    assert bars() == {1, 2}
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
