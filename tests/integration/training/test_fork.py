"""Runners are forked from a process that has imported Keras and used nothing of it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import multiprocessing, sys

def child(connection, volume):
    from worker.training import preload
    preload.assert_untouched()
    from worker.training.kinds import ACTIONS
    from worker.wire import Assignment

    class Quiet:
        def say(self, message): pass
        def stop_mode(self): return None
        def save_asked(self): return False

    layers = [{"Flatten": {}}, {"Dropout": {"rate": 0.25}}, {"Dense": {"units": 10}}]
    spec = {"kind": "train", "model": {"layers": layers, "input_shape": [8, 8]},
            "data": {"train": {"dataset": "digits", "rows": [0, 100]}},
            "compile": {"loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}}}
    ended = ACTIONS["train"](Assignment("job_x", 1, "train", spec, None, 7, (), None, volume, 2, None, 1.0), Quiet())
    try:
        preload.assert_untouched()
    except RuntimeError as error:
        said = str(error)
    connection.send((ended.weights_sha256, said))

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["worker.training.preload"])
    for number in range(2):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(theirs, f"{sys.argv[1]}/{number}"))
        process.start()
        theirs.close()
        print(*mine.recv(), flush=True)
        process.join()
"""


def test_children_of_a_warm_forkserver_train_to_the_same_bits(tmp_path):
    (tmp_path / "main.py").write_text(SCRIPT)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, timeout=120, check=False
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.endswith("each would hang.")
