"""Data that does not fit the job's memory is streamed: exactly, resumably, and within the limit."""

import numpy as np
import pytest

from worker import launch, runner_entry, wire
from worker.training import engine
from worker.wire import Epoch, Failed, Finished

#: Rows whose 24 MB are more than a quarter of 64 MB.
ROWS = 30_000
FEATURES = 200
LAYERS = [{"Dense": {"units": 8, "activation": "relu"}}, {"Dropout": {"rate": 0.25}}, {"Dense": {"units": 3}}]


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, rows)
    x = generator.normal(size=(rows, FEATURES)).astype(np.float32)
    x[:, 0] += 4 * y
    return x, y


@pytest.fixture(scope="module")
def streamed_bench(benches):
    bench = benches()
    x, y = table(ROWS)
    bench.save("x.npy", x=x)
    bench.save("y.npy", y=y)
    bench.save("d.npz", x=x, y=y)
    return bench


def spec(**changes):
    made = {
        "kind": "train",
        "model": {"layers": LAYERS, "input_shape": [FEATURES]},
        "data": {"train": {"npy": "x.npy", "labels": "y.npy"}, "validation": {"split": 0.1}, "scale": 0.5},
        "compile": {
            "optimizer": {"Adam": {"learning_rate": 0.01}},
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        "fit": {"epochs": 2, "batch_size": 256},
        "resources": {"memory_mb": 64},
    }
    return {**made, **changes}


@pytest.fixture
def streams(monkeypatch):
    """Count the data sets that are streamed."""
    found = []
    streamed = engine._streamed
    monkeypatch.setattr(engine, "_streamed", lambda *given: found.append(given) or streamed(*given))
    return found


@pytest.fixture(scope="module")
def undisturbed(streamed_bench):
    return streamed_bench.finish(spec())


def test_streamed_data_is_learned_from(undisturbed, streamed_bench, streams):
    ended, report = undisturbed
    assert report.epochs[1]["val_accuracy"] > 0.9
    again, _ = streamed_bench.finish(spec(data={**spec()["data"], "train": {"npz": "d.npz"}}), attempt=2)
    assert again.weights_sha256 == ended.weights_sha256
    assert len(streams) == 2


@pytest.mark.parametrize("asks", [3, 110, 140])
def test_released_anywhere_a_streamed_job_goes_on_to_the_same_bits(
    streamed_bench, undisturbed, recorder, resumable, asks
):
    first = recorder(stop_at=asks)
    streamed_bench.stop(spec(), first, attempt=2)
    saved = list(first.checkpoints.values())
    again, report = streamed_bench.finish(spec(), attempt=3, checkpoints=resumable(*saved))
    ended, whole = undisturbed
    assert report.resumed.step == saved[-1].step
    assert again.weights_sha256 == ended.weights_sha256
    kept = {epoch: row for epoch, row in first.epochs.items() if epoch < report.resumed.epoch}
    assert kept | report.epochs == whole.epochs


def test_streamed_data_is_evaluated_and_predicted_as_data_in_memory_is(streamed_bench, streams):
    model = {"layers": LAYERS, "input_shape": [FEATURES]}
    found = {}
    for memory_mb in (64, 1024):
        shared = {"model": model, "resources": {"memory_mb": memory_mb}, "batch_size": 999}
        source = {"npy": "x.npy", "labels": "y.npy"}
        test = {"kind": "evaluate", "data": {"test": source}, "compile": spec()["compile"], **shared}
        ask = {"kind": "predict", "data": {"input": source}, **shared}
        measured = streamed_bench.finish(test)[0].value
        _, report = streamed_bench.finish(ask)
        with np.load(streamed_bench.volume / report.artifact.file.path) as archive:
            found[memory_mb] = measured, archive["predictions"]
    assert len(streams) == 2
    assert found[64][0] == found[1024][0]
    np.testing.assert_array_equal(found[64][1], found[1024][1])


def test_a_label_without_a_class_is_named_when_it_is_come_to(streamed_bench):
    y = table(ROWS)[1]
    y[20_000] = 7
    streamed_bench.save("wrong.npy", y=y)
    wrong = spec(data={"train": {"npy": "x.npy", "labels": "wrong.npy"}})
    with pytest.raises(Exception, match=r"found 7 \(row 20000\)"):
        streamed_bench.run(wrong)


#: MiB that the job may take, and that its data takes.
LIMIT_MB, DATA_MB = 448, 512


def test_data_larger_than_the_memory_limit_is_trained_on_within_it(bench):
    """Measured as a supervisor measures, on a real runner."""
    rows = (DATA_MB << 20) // (4 * FEATURES)
    part, labels = table(rows // 16)
    bench.save("x.npy", x=part)
    with (bench.volume / "data" / "big.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (16 * len(part), FEATURES)}
        )
        for _ in range(16):
            file.write(part.tobytes())
    bench.save("labels.npy", y=np.tile(labels, 16))
    del part
    job = spec(
        data={"train": {"npy": "big.npy", "labels": "labels.npy"}, "validation": {"split": 0.1}},
        fit={"epochs": 1, "batch_size": 1024},
        resources={"memory_mb": LIMIT_MB},
    )
    launch.start_forkserver()
    running = launch.launch(runner_entry.main, bench.assignment(job))
    highest, said = 0, []
    inbox = wire.Inbox(running.connection)
    try:
        while not any(isinstance(one, Finished | Failed) for one in said):
            if running.connection.poll(0.05):
                said += [message for message, _ in inbox.read()]
            highest = max(highest, running.memory_mb(LIMIT_MB))
    finally:
        running.kill()
    assert isinstance(said[-1], Finished), said[-1]
    (epoch,) = [one for one in said if isinstance(one, Epoch)]
    assert epoch.metrics["val_accuracy"] > 0.9
    assert 50 < highest < LIMIT_MB
