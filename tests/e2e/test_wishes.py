"""Pausing, saving, resuming and deleting, on a whole stack."""

import numpy as np

from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until


def test_a_job_is_paused_saved_resumed_and_ends_as_if_undisturbed(stack, queue, undisturbed):
    job = queue.submit(spec())
    until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
    job.save()
    job.pause()
    until(lambda: job.refresh().state == "queued", "the pause")
    runners = stack.processes(f"fitq runner {job.id}")
    done = epochs(stack, job.id)
    assert runners == []
    assert job.data["paused"]
    assert len(done) < 10

    job.resume().wait(PATIENCE_S).raise_for_state()
    assert job.history() == undisturbed["history"]
    assert job.result()["weights_sha256"] == undisturbed["weights"]
    outcomes = stack.rows("SELECT outcome FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job.id)
    assert outcomes == [("released",), ("succeeded",)]


@on_sqlite
def test_a_paused_job_whose_data_was_changed_is_refused_until_it_is_put_back(stack, queue):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2000, 8, 8)).astype("float32"), generator.integers(0, 10, 2000)
    path = stack.home / "volume" / "data" / "wishes.npz"
    np.savez(path, x=x, y=y)
    changes = {"data": {"train": {"npz": "wishes.npz"}}, "fit": {"epochs": 30}}
    undisturbed = queue.submit(spec(**changes)).wait(PATIENCE_S).raise_for_state().result()["weights_sha256"]
    job = queue.submit(spec(**changes))
    until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
    job.pause()
    until(lambda: job.refresh().state == "queued", "the pause")
    done = epochs(stack, job.id)
    assert len(done) < 30

    np.savez(path, x=x[::-1], y=y)
    job = job.resume().wait(PATIENCE_S)
    assert (job.state, job.data["error"]["code"]) == ("failed", "bad_data")
    assert job.data["error"]["message"].startswith("wishes.npz was changed after the job had begun")
    assert epochs(stack, job.id) == done

    np.savez(path, x=x, y=y)
    job.retry().wait(PATIENCE_S).raise_for_state()
    assert job.result()["weights_sha256"] == undisturbed


@on_sqlite
def test_a_checkpoint_that_is_asked_for_is_written_while_the_job_trains_on(stack, queue):
    """The job keeps none of its own for as long as it runs."""
    job = queue.submit(spec(checkpoint={"every_epochs": 5000}, fit={"epochs": 5000}))
    until(lambda: len(epochs(stack, job.id)) >= 1, "an epoch")
    assert job.checkpoints() == []
    job.save()
    (saved,) = until(job.checkpoints, "the checkpoint")
    assert job.refresh().state == "running"
    assert saved["name"].startswith("step-")

    assert job.cancel(now=True).wait(PATIENCE_S).state == "cancelled"


def test_an_ended_job_goes_on_as_a_new_one_with_its_history(stack, queue, undisturbed):
    short = queue.submit(spec(fit={"epochs": 6})).wait(PATIENCE_S).raise_for_state()
    more = short.resume(epochs=10, name="more").wait(PATIENCE_S).raise_for_state()

    assert more.id != short.id
    assert (more.data["parent_id"], more.name) == (short.id, "more")
    assert more.history() == undisturbed["history"]
    assert more.result()["weights_sha256"] == undisturbed["weights"]

    short.delete()
    assert short.data["deleted_at"]
    assert not list((stack.home / "volume" / "jobs").glob(f"{short.id}/*"))
    assert short.history() == {name: values[:6] for name, values in undisturbed["history"].items()}
    assert more.checkpoints()


@on_sqlite
def test_an_ended_job_whose_data_was_changed_is_not_resumed_and_its_model_trains_on_it_as_a_new_job(stack, queue):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(64, 8, 8)).astype("float32"), generator.integers(0, 10, 64)
    path = stack.home / "volume" / "data" / "ended.npz"
    data = {"train": {"npz": "ended.npz"}}
    np.savez(path, x=x, y=y)
    long = queue.submit(spec(data=data, fit={"epochs": 3})).wait(PATIENCE_S).raise_for_state()
    ended = queue.submit(spec(data=data, fit={"epochs": 2})).wait(PATIENCE_S).raise_for_state()

    np.savez(path, x=x[::-1], y=y)
    more = ended.resume(epochs=3).wait(PATIENCE_S)
    assert (more.state, more.data["error"]["code"]) == ("failed", "bad_data")
    assert more.data["error"]["message"].startswith("ended.npz was changed after the job had begun")
    assert epochs(stack, more.id) == [0, 1]
    new = {"model": {"job": ended.id}, "compile": {"continue_optimizer": True}}
    queue.submit(spec(data=data, fit={"epochs": 1}) | new).wait(PATIENCE_S).raise_for_state()

    np.savez(path, x=x, y=y)
    more.retry().wait(PATIENCE_S).raise_for_state()
    assert more.history() == long.history()
    assert more.result()["weights_sha256"] == long.result()["weights_sha256"]
