"""What callbacks leave, seen from outside: there while the job runs, and each epoch once after a `kill -9`."""

import csv

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until

CALLBACKS = [
    {"CSVLogger": {"filename": "logs/run.csv"}},
    {"TensorBoard": {"log_dir": "./logs"}},
    {"ModelCheckpoint": {"filepath": "models/{epoch:02d}.keras"}},
]


@on_sqlite
def test_a_killed_runner_leaves_each_epoch_once_in_every_file(stack, queue, tmp_path):
    job = queue.submit(spec(callbacks=CALLBACKS))
    until(lambda: len(epochs(stack, job.id)) >= 3, "three epochs")
    until(lambda: any(one["name"] == "logs/run.csv" for one in job.artifacts()), "the log of a job that runs")
    stack.kill(f"fitq runner {job.id}")
    job.wait(PATIENCE_S)
    assert len(job.attempts()) == 2

    count = len(epochs(stack, job.id))
    names = [one["name"] for one in job.artifacts()]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        job.download_artifact(name, tmp_path / name)
    with (tmp_path / "logs/run.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(count))
    run = EventAccumulator(str(tmp_path / "logs/train"), size_guidance={"tensors": 0}).Reload()
    assert [one.step for one in run.Tensors("epoch_loss")] == list(range(count))
    assert [name for name in names if name.startswith("models/")] == [f"models/{n + 1:02d}.keras" for n in range(count)]
