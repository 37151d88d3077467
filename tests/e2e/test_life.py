"""The main job, as a user runs it: submitted over HTTP, trained by a worker, read in SQL."""

import io

import numpy as np
import pytest

from shared import broker
from shared.settings import Settings
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until


def test_a_job_trains_and_its_epochs_appear_while_it_does(stack, queue):
    job = queue.submit(spec(fit={"epochs": 30, "batch_size": 8}))
    until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs in SQL")
    assert job.refresh().state == "running"
    assert job.data["progress"]["epochs"] == 30

    job.wait(PATIENCE_S).raise_for_state()
    rows = stack.rows(
        "SELECT name, count(*), min(epoch), max(epoch) FROM v_epoch_metrics WHERE job_id = :id GROUP BY 1", id=job.id
    )
    assert sorted(rows) == [(name, 30, 0, 29) for name in ("accuracy", "loss", "val_accuracy", "val_loss")]
    assert job.history()["val_accuracy"][-1] > 0.85


def test_the_same_seed_gives_the_same_weights_and_history(queue, undisturbed):
    job = queue.submit(spec()).wait(PATIENCE_S).raise_for_state()

    assert job.result()["weights_sha256"] == undisturbed["weights"]
    assert job.history() == undisturbed["history"]


def test_bells_that_come_doubled_late_or_for_nothing_run_no_job_twice(stack, queue):
    bell = broker.Bell(broker.make_app(Settings(broker_url=stack.broker_url)))
    assert all(bell.ring_now("cpu") for _ in range(10)), "for nothing"
    jobs = [queue.submit(spec(fit={"epochs": 1})) for _ in range(4)]
    assert all(bell.ring_now(lane) for _ in range(20) for lane in ("cpu", "interactive", "gpu"))
    for job in jobs:
        job.wait(PATIENCE_S).raise_for_state()
    assert all(bell.ring_now("cpu") for _ in range(10)), "late"

    assert [job.data["attempt"] for job in jobs] == [1, 1, 1, 1]
    ids = {f"id{n}": job.id for n, job in enumerate(jobs)}
    counted = "SELECT count(*) FROM v_attempts WHERE job_id IN (:id0, :id1, :id2, :id3)"
    assert stack.rows(counted, **ids) == [(4,)]


def test_a_trained_model_is_evaluated_and_predicts(queue):
    trained = queue.submit(spec()).wait(PATIENCE_S).raise_for_state()
    model = {"job": trained.id}
    test = {"dataset": "digits", "split": "test"}
    measured = queue.submit({"kind": "evaluate", "model": model, "data": {"test": test}}).wait(PATIENCE_S)
    asked = {"kind": "predict", "model": model, "data": {"input": test}, "head": "softmax", "top_k": 2}
    predicted = queue.submit(asked).wait(PATIENCE_S).raise_for_state()

    metrics = measured.raise_for_state().result()["value"]["metrics"]
    assert metrics["accuracy"] == pytest.approx(trained.history()["val_accuracy"][-1])
    assert metrics["loss"] == pytest.approx(trained.history()["val_loss"][-1], rel=1e-4)
    assert predicted.result()["value"]["rows"] == 360
    assert np.array(predicted.result()["value"]["predictions"]).sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_checkpoint_is_downloaded_and_opens(queue, tmp_path):
    job = queue.submit(spec(fit={"epochs": 3})).wait(PATIENCE_S).raise_for_state()
    saved = job.checkpoints()
    assert [one["name"] for one in saved][:2] == ["epoch-2", "epoch-1"]

    target = tmp_path / "last.npz"
    job.download_checkpoint("last", target)
    with np.load(io.BytesIO(target.read_bytes()), allow_pickle=False) as arrays:
        assert len(arrays.files) > 4


def test_the_needs_of_a_job_are_told_without_queueing_it(queue):
    before = len(list(queue.jobs(limit=1000)))
    needs = queue.check(spec())

    assert needs["parameters"] == 64 * 32 + 32 + 32 * 10 + 10
    assert needs["output_shape"] == [None, 10]
    assert len(list(queue.jobs(limit=1000))) == before


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"model": {"input_shape": [7, 7]}}, "bad_", "8"),
        ({"compile": {"loss": "categorical_crossentropy"}}, "bad_", "shape"),
        ({"data": {"one_hot": 3}}, "bad_data", "Labels"),
        (
            {"model": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 3}}], "input_shape": [8, 8]}},
            "bad_spec",
            "conv2d",
        ),
    ],
)
def test_a_job_that_cannot_be_run_fails_with_a_sentence_and_is_not_retried(queue, changes, code, says):
    job = queue.submit(spec(**changes)).wait(PATIENCE_S)

    assert job.state == "failed"
    assert job.data["attempt"] == 1
    assert job.data["error"]["code"].startswith(code)
    assert says in job.data["error"]["message"]
    assert "Traceback" not in job.data["error"]["message"]


#: A linear model of numbers beyond float32: its first loss is NaN.
OVERFLOWING = {"model": {"layers": [{"Flatten": {}}, {"Dense": {"units": 10}}]}, "data": {"scale": 1e38}}


def test_a_nan_loss_ends_the_job_with_its_history_kept(stack, queue):
    bad = spec(**OVERFLOWING)
    job = queue.submit(bad).wait(PATIENCE_S)

    assert (job.state, job.data["error"]["code"], job.data["attempt"]) == ("failed", "nan_loss", 1)
    kinds = stack.rows("SELECT DISTINCT value_kind FROM v_epoch_metrics WHERE job_id = :id", id=job.id)
    assert ("nan",) in kinds


def test_a_nan_loss_may_go_on_where_the_spec_says_so(queue):
    bad = spec(**OVERFLOWING, fit={"epochs": 2, "on_nan": "continue"})
    job = queue.submit(bad).wait(PATIENCE_S).raise_for_state()

    assert len(job.history()["loss"]) == 2


def test_the_log_of_a_job_is_there(queue):
    job = queue.submit(spec(model={"input_shape": [7, 7]})).wait(PATIENCE_S)

    assert "bad_" in job.logs()
