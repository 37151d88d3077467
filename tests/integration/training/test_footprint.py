"""What a job will leave on the volume: counted before, true afterwards, and refused where it cannot fit."""

import pytest

from shared.errors import BadSpec, DiskFull
from shared.spec import parse
from worker.training import footprint, sizing
from worker.wire import Artifact

WIDE = [{"Flatten": {}}, {"Dense": {"units": 2000, "activation": "relu"}}, {"Dense": {"units": 10}}]
MB = 1 << 20


@pytest.fixture
def wide(train):
    """A spec whose checkpoints take 1.7 MB each: 150,010 parameters, and Adam's two slots."""

    def make(**changes):
        return train(model={"layers": WIDE}, **changes)

    return make


@pytest.mark.parametrize(
    "callbacks",
    [
        [],
        [{"EarlyStopping": {"monitor": "loss", "restore_best_weights": True, "patience": 9}}],
        [
            {"ModelCheckpoint": {"filepath": "{epoch}.keras"}},
            {"ModelCheckpoint": {"filepath": "best.weights.h5", "save_weights_only": True}},
        ],
    ],
    ids=["plain", "early stopping", "models"],
)
@pytest.mark.parametrize("optimizer", ["adam", {"SGD": {"momentum": 0.9}}, "rmsprop", {"Adam": {"use_ema": True}}])
def test_what_is_counted_is_what_is_left(bench, wide, callbacks, optimizer):
    spec = wide(fit={"epochs": 3}, callbacks=callbacks, compile={"optimizer": optimizer})
    told = bench.finish(spec, kind="check")[0].value
    _, report = bench.finish(spec)

    (largest,) = sorted(one.file.bytes for one in report.checkpoints.values())[-1:]
    assert largest <= told["checkpoint_bytes"] <= largest * 1.05 + 50_000
    assert told["checkpoints"] == 5
    artifacts = sum(one.file.bytes for one in {one.name: one for one in report.all(Artifact)}.values())
    counted = told["disk_bytes"] - told["checkpoints"] * told["checkpoint_bytes"]
    assert artifacts <= counted <= artifacts * 1.05 + 4 * 50_000


def test_predictions_are_counted(bench, train, wide):
    given = {"input": {"dataset": "digits", "rows": [0, 500]}}
    spec = {"kind": "predict", "model": {"layers": WIDE[:2], "input_shape": [8, 8]}, "data": given}
    told = bench.finish(spec, kind="check")[0].value
    _, report = bench.finish(spec)

    assert report.artifact.file.bytes <= told["disk_bytes"] <= report.artifact.file.bytes + 50_000
    with pytest.raises(BadSpec, match=r"up to 3\.8 MB .*disk_mb allows 3: ask for 4, or predict fewer rows"):
        bench.run({**spec, "resources": {"disk_mb": 3}})


def test_fewer_epochs_than_checkpoints_to_keep_are_counted_as_they_are(train):
    spec = parse(train(fit={"epochs": 1}, checkpoint={"keep_last": 100}))
    size = sizing.Size(10, 10, 40, 40, 0, None, None, variables=1, trainable_variables=1)

    assert footprint.of_training(spec, size, {}, slots=2).checkpoints == 3


@pytest.mark.parametrize("kind", ["train", "check"])
def test_a_job_that_cannot_fit_its_own_limit_is_refused_before_its_first_step(bench, wide, recorder, kind):
    report = recorder()
    spec = wide(fit={"epochs": 9}, resources={"disk_mb": 5})
    with pytest.raises(BadSpec) as refused:
        bench.run(spec, report, kind=kind)

    assert refused.value.message == (
        "The job leaves up to 8.7 MB on the volume (5 checkpoints of 1.7 MB); resources.disk_mb allows 5: ask for 9, "
        "or keep fewer (checkpoint.keep_last, checkpoint.keep_best)."
    )
    assert [field.pointer for field in refused.value.fields] == ["/resources/disk_mb"]
    assert report.checkpoints == {}
    bench.run(wide(fit={"epochs": 1}, resources={"disk_mb": 6}), kind=kind)


@pytest.mark.parametrize("kind", ["train", "check"])
def test_a_job_that_cannot_fit_the_installations_volume_is_refused(bench, wide, kind):
    with pytest.raises(BadSpec, match=r"volume takes 5\.0 MB \(FITQ_VOLUME_MAX_MB\): keep fewer"):
        bench.run(wide(fit={"epochs": 9}), kind=kind, volume_max_bytes=5 * MB)


def test_without_room_now_a_job_is_tried_later_and_its_check_says_so(bench, wide, recorder, resumable):
    spec, full = wide(fit={"epochs": 4}), {"volume_max_bytes": 100 * MB, "volume_used_bytes": 96 * MB}
    with pytest.raises(DiskFull, match=r"up to 8\.7 MB .*there is room for 4\.0 MB: delete jobs"):
        bench.run(spec, **full)

    told = bench.finish(spec, kind="check", **full)[0].value
    assert told["disk_free_bytes"] == 4 * MB
    assert told["warnings"] == [
        "The job leaves up to 8.7 MB on the volume (5 checkpoints of 1.7 MB); the volume has room for 4.0 MB now."
    ]
    stopped = recorder(stop_at=18)
    bench.stop(spec, stopped)
    saved = resumable(*stopped.checkpoints.values())
    assert len(saved) == 3
    # What it has left so far is there already.
    bench.finish(spec, checkpoints=saved, **full)
