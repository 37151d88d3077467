"""The command as a process of its own: what it imports, what Ctrl-C does, what a terminal sees."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

HEAVY = {"tensorflow", "keras", "numpy", "sqlalchemy", "celery", "flask", "pydantic"}
RUN = "import sys; from fitq.cli import cli; sys.argv[0] = 'fitq'\n"


def fitq(*args, env=None, **options):
    command = [sys.executable, "-c", RUN + "cli(prog_name='fitq')", *args]
    return subprocess.Popen(command, env={**os.environ, **(env or {})}, text=True, **options)


@pytest.mark.parametrize("args", [["--help"], ["jobs", "--help"], ["submit", "--help"], ["--version"], ["jobs"]])
def test_no_command_of_the_client_imports_what_the_server_needs(server, args):
    code = RUN + (
        "import json, runpy\n"
        "try: cli(sys.argv[1:], prog_name='fitq')\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stderr.splitlines()[-1]))
    assert not imported & HEAVY
    if args == ["--help"]:
        assert not imported & {"httpx2", "rich", "yaml", "standalone"}


def test_the_server_is_missing_without_its_distribution(tmp_path):
    # Without site-packages' entry points, as where only the client is installed.
    code = RUN + "from fitq import cli as room\nroom._added = dict\ncli(['up'], prog_name='fitq')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "comes with the server's distribution, fitq-server, which is not installed" in done.stderr


def test_a_server_command_that_cannot_be_imported_says_so():
    code = RUN + (
        "from importlib.metadata import EntryPoint\nfrom fitq import cli as room\n"
        "room._added = lambda: {'up': EntryPoint('up', 'no_such_room:up', 'fitq.commands')}\n"
        "cli(['up'], prog_name='fitq')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "`fitq up` cannot start: No module named 'no_such_room'." in done.stderr


def test_ctrl_c_stops_the_watching_and_not_the_job(server):
    job_id = server.add()
    server.run(job_id)
    with fitq("watch", job_id, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        for line in watcher.stderr:
            if line == "Attempt 1 runs.\n":
                break
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate()
    assert watcher.returncode == 130
    assert out == ""
    assert "the job goes on" in err
    assert f"fitq watch {job_id}" in err
    assert f"fitq cancel {job_id}" in err
    assert "Traceback" not in err
    assert server.jobs[job_id]["state"] == "running"
    assert not server.sent("POST", "/cancel")


def test_ctrl_c_in_a_prediction_into_a_file_leaves_the_job_and_no_file(server, tmp_path):
    trained = server.add()
    asked = ("predict", trained, "--data", "digits", "-o", str(tmp_path / "p.npz"))
    with fitq(*asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        job_id = next(line.split()[1] for line in waiting.stderr if line.startswith("Job "))
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate()
    assert waiting.returncode == 130
    assert "the job goes on" in err
    assert f"fitq watch {job_id}" in err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_job_is_being_queued_says_where_to_look(server, tmp_path):
    (tmp_path / "job.json").write_text('{"kind": "train", "model": {}}')
    # Whoever holds this holds every answer back.
    asked = ("submit", str(tmp_path / "job.json"))
    # Whoever holds this holds every answer back.
    with server.changed, fitq(*asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        deadline = time.monotonic() + 60
        while not server.sent("POST", "/jobs"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate()
    assert (waiting.returncode, out) == (130, "")
    assert "`fitq jobs` shows whether it was" in err


def test_a_reader_that_leaves_is_no_error(server):
    for number in range(1, 400):
        server.add(number)
    with fitq("jobs", "--limit", "399", "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as lister:
        lister.stdout.readline()
        lister.stdout.close()
        err = lister.stderr.read()
    assert "Traceback" not in err


def seen_on_a_terminal(*args, env=None):
    """Return what `fitq` writes to a terminal 100 columns wide."""
    ours, theirs = pty.openpty()
    plain = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"} | (env or {})
    shown = b""
    with fitq(*args, env=plain, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
        os.close(ours)
    return process.returncode, shown.decode()


def test_a_terminal_sees_bars(server):
    job_id = server.add()
    server.run(job_id)
    server.epoch(job_id, 0, loss=0.5)
    server.progress(job_id, phase="train", epoch=1, epochs=3, step=5, steps=10, metrics={"loss": 0.4})
    server.end(job_id, "succeeded", value={"loss": 0.25})
    code, shown = seen_on_a_terminal("watch", job_id)
    assert code == 0
    assert "epochs" in shown
    assert "1/3" in shown
    assert "━" in shown
    # Its cursor is given back.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_no_color_is_obeyed(server):
    server.add(state="failed")
    colour = re.compile(r"\x1b\[[0-9;]*3[1-6]m")
    assert colour.search(seen_on_a_terminal("jobs")[1])
    assert not colour.search(seen_on_a_terminal("jobs", env={"NO_COLOR": "1"})[1])


def test_a_narrow_terminal_sees_short_ids(server):
    job_id = server.add()
    _, shown = seen_on_a_terminal("jobs")
    assert "000000000001" in shown
    assert job_id not in shown
