"""Uploads over an API that is a process: killed in the middle, and left by Ctrl-C."""

import hashlib
import itertools
import signal
import subprocess
import sys
import threading

import pytest

import fitq
from shared import store
from tests.integration.api import processes

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def api(database_url, volume):
    """A port, and what starts an API on it; the last one started is killed at the end."""
    port, started = processes.free_port(), []

    def start():
        started.append(processes.start(database_url, volume, port))
        processes.await_ready(started[-1], port)

    start()
    yield port, start, lambda: processes.kill(started[-1])
    processes.kill(started[-1])


def test_an_api_that_is_killed_in_the_middle_costs_nothing_that_arrived(api, volume):
    port, start, kill = api
    content = bytes(range(256)) * 200_000
    seen, restarted = [], threading.Event()

    def progress(done, total):
        seen.append(done)
        if done > total // 2 and not restarted.is_set():
            restarted.set()
            kill()
            threading.Thread(target=start).start()

    with fitq.connect(f"http://127.0.0.1:{port}") as queue:
        ref = queue.upload(content, progress=progress)

        assert ref == f"sha256:{hashlib.sha256(content).hexdigest()}"
        with store.open_data(volume, ref) as file:
            assert file.read() == content
        # All but what was on its way stayed.
        again = next(after for before, after in itertools.pairwise(seen) if after <= before)
        assert again > len(content) // 4


def test_ctrl_c_keeps_what_arrived(api, tmp_path):
    port, _, _ = api
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(1 << 30)
    main = "from fitq.cli import main; main()"
    command = [sys.executable, "-c", main, "--url", f"http://127.0.0.1:{port}", "upload", file.name]
    pause = threading.Event()
    with (
        fitq.connect(f"http://127.0.0.1:{port}") as queue,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sender,
    ):
        while not any(one["offset"] for one in queue.uploads()):
            assert sender.poll() is None
            pause.wait(0.01)
        sender.send_signal(signal.SIGINT)
        out, err = sender.communicate(timeout=60)

        assert (sender.returncode, out) == (130, "")
        assert "What has arrived stays" in err
        assert "Traceback" not in err
        (there,) = queue.uploads()
        assert 0 < there["offset"] < there["bytes"]
