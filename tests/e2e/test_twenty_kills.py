"""One job, killed at twenty random moments, each time anew: the same weights, history and best checkpoint."""

import random
import signal
import time

import psutil
import pytest

from tests.e2e.backends import on_postgresql
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until

#: Everything that a resume could forget: dropout, a shuffled pass, and callbacks that count.
JOB = spec(
    fit={"epochs": 12, "batch_size": 8},
    callbacks=[
        {"EarlyStopping": {"monitor": "val_loss", "patience": 3, "restore_best_weights": True}},
        {"ReduceLROnPlateau": {"monitor": "val_loss", "patience": 1, "factor": 0.5, "cooldown": 1, "min_delta": 0.03}},
    ],
    retries=100,
)
RANDOM = random.Random(20)


def kill(process):
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def runner(stack, job):
    return until(lambda: stack.processes(f"fitq runner {job.id}"), "the runner")[0]


def in_mid_epoch(stack, job):
    """Kill the runner so many steps after an epoch's end."""
    until(lambda: len(epochs(stack, job.id)) > RANDOM.randrange(4), "an epoch")
    time.sleep(RANDOM.uniform(0, 0.15))
    kill(runner(stack, job))


def in_a_checkpoint(stack, job):
    """Kill the runner while a checkpoint's temporary file is there."""
    folder = stack.home / "volume" / "jobs" / job.id
    victim = runner(stack, job)
    wanted = RANDOM.randrange(1, 4)
    until(lambda: len(list(folder.glob("*/checkpoints/epoch-*"))) >= min(wanted, 2), "a checkpoint")
    deadline = time.monotonic() + PATIENCE_S
    while not list(folder.glob("*/checkpoints/.*.tmp")):
        assert time.monotonic() < deadline
    kill(victim)


def between_a_file_and_its_row(stack, job):
    """Freeze the supervisor, wait for a checkpoint's file that no row names, and kill the whole worker."""
    until(lambda: epochs(stack, job.id), "an epoch")
    worker = stack.processes("fitq worker")[0]
    worker.suspend()
    folder = stack.home / "volume" / "jobs" / job.id
    rows = {row[0] for row in stack.rows("SELECT path FROM checkpoints WHERE job_id = :id", id=job.id)}
    volume = stack.home / "volume"
    until(
        lambda: any(str(one.relative_to(volume)) not in rows for one in folder.glob("*/checkpoints/epoch-*")),
        "a file without a row",
    )
    worker.send_signal(signal.SIGKILL)


def best(stack, job):
    """Return the chosen best checkpoint."""
    query = "SELECT name, value, weights_sha256 FROM checkpoints WHERE job_id = :id AND is_best"
    return stack.rows(query, id=job.id)


MOMENTS = [in_mid_epoch] * 12 + [in_a_checkpoint] * 6 + [between_a_file_and_its_row] * 2


@on_postgresql
@pytest.mark.timeout(600)
def test_killed_at_twenty_random_moments_a_job_ends_the_same_each_time(new_stack):
    stack = new_stack(FITQ_SLOTS="1").start()
    with stack.queue() as queue:
        undisturbed = queue.submit(JOB).wait(PATIENCE_S).raise_for_state()
        weights, history = undisturbed.result()["weights_sha256"], undisturbed.history()
        assert len(set(history["learning_rate"])) > 1, "the learning rate must fall, or nothing is tested"
        chosen = best(stack, undisturbed)
        assert len(chosen) == 1
        ended = []
        for moment in RANDOM.sample(MOMENTS, len(MOMENTS)):
            job = queue.submit(JOB)
            moment(stack, job)
            job.wait(PATIENCE_S)
            came_to = (job.result()["weights_sha256"], job.history(), best(stack, job))
            ended.append((job.state, job.data["attempt"], *came_to))

    assert ended == [("succeeded", 2, weights, history, chosen)] * len(MOMENTS)
