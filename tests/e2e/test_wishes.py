"""Pausing, saving, resuming and deleting, on a whole stack."""

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
