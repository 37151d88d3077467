"""A process id that a runner had may be another's when its supervisor looks again: a frozen worker wakes up late."""

import subprocess
import sys
from pathlib import Path

from tests.lacking import lacking

ROOT = Path(__file__).parents[3]
#: A process-id namespace of the test's own, in which the next id can be chosen.
ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

SCRIPT = """
import subprocess, sys, tempfile
from pathlib import Path

from tests.integration.worker import runners
from worker import launch
from worker.wire import Assignment

def with_pid(wanted):
    while True:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(wanted - 1))
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        if process.pid == wanted:
            return process
        process.kill()
        process.wait()

if __name__ == "__main__":
    launch._PRELOAD[:] = ["worker.guard"]
    launch.start_forkserver()
    assignment = Assignment("job_x", 1, "train", {}, None, 7, (), None, tempfile.gettempdir(), 2, None, 1.0)
    running = launch.launch(runners.dies_without_a_word, assignment)
    running.process.join()
    stranger = with_pid(running.process.pid)
    running.kill()
    try:
        said = stranger.wait(1)
    except subprocess.TimeoutExpired:
        said = "alive"
    print(running.process.exitcode, said)
    stranger.kill()
"""


def test_a_stranger_with_the_process_id_of_a_runner_that_is_gone_is_not_killed(tmp_path):
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        lacking("no right to make a namespace of process ids")
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    command = [*ALONE, sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == "7 alive\n", done.stderr
