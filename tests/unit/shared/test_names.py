"""What the files of a job may be called."""

import pytest

from shared import names
from shared.errors import BadSpec
from shared.spec import parse

GOOD = ["predictions.npz", "logs/train/events.out.tfevents.1.v2", "épreuve nº 1/a=1,b=2.keras", "a" * 200]
BAD = [
    *("", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".", "./..", "a\\b", "C:x", "a\x00", "a\nb", "\ud800"),
    *(" a", "a /b", "a?b", "a*", "a|b", '"a"', "a" * 201),
]
TRICKS = [
    *(
        "{epoch.__class__}.keras",
        "{epoch[0]}.keras",
        "{epoch!r}.keras",
        "{0}.keras",
        "{}.keras",
        "{epoch:{epoch}}.keras",
    ),
    *(
        "{epoch:9999d}.keras",
        "{epoch:.999f}.keras",
        "{epoch.keras",
        "epoch}.keras",
        "{epoch:x^9}.keras",
        "../{epoch}.keras",
    ),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_relative_path_of_plain_parts_is_a_name(name):
    assert names.is_name(name)


@pytest.mark.parametrize("name", BAD)
def test_what_climbs_or_confuses_is_none(name):
    assert not names.is_name(name)


def test_a_template_is_filled_as_keras_fills_it():
    values = {"epoch": 3, "val_loss": 0.12345, "loss": float("nan")}
    for template in ("{epoch:02d}-{val_loss:.2f}.keras", "./a/{loss}{{x}}.h5", "x{epoch:+5.1f}{val_loss:e}"):
        assert names.is_template(names.plain(template))
        assert names.fill(template, values) == template.removeprefix("./").format(**values).strip()


@pytest.mark.parametrize("template", TRICKS)
def test_a_template_reaches_nothing_but_numbers(template):
    assert not names.is_template(template)


def job(*callbacks, epochs=2):
    return {
        "kind": "train",
        "model": {"layers": ["Flatten"], "input_shape": [1]},
        "data": {"train": {"dataset": "digits"}},
        "compile": {"loss": "mse"},
        "fit": {"epochs": epochs},
        "callbacks": list(callbacks),
    }


def test_callbacks_that_write_are_taken():
    spec = job(
        {"LearningRateScheduler": {"rates": [0.1, 0.01, 0]}},
        {"ModelCheckpoint": {"filepath": "w/{epoch:02d}-{val_loss:.2f}.weights.h5", "save_weights_only": True}},
        {"ModelCheckpoint": {"filepath": "all.h5", "save_best_only": True, "initial_value_threshold": 0.5}},
        {"TensorBoard": {"log_dir": "./logs", "update_freq": "batch", "embeddings_freq": 0, "profile_batch": 0}},
        "TensorBoard",
        {"CSVLogger": {"filename": "log.csv", "append": True}},
        "SwapEMAWeights",
    )
    spec["callbacks"].pop(4)
    assert len(parse(spec).callbacks) == 6


@pytest.mark.parametrize(
    ("callbacks", "pointer", "says"),
    [
        ([{"CSVLogger": {"filename": "/tmp/x.csv"}}], "/callbacks/0/CSVLogger/filename", "a relative path"),
        ([{"TensorBoard": {"log_dir": "../logs"}}], "/callbacks/0/TensorBoard/log_dir", "a relative path"),
        ([{"TensorBoard": {"profile_batch": 2}}], "/callbacks/0/TensorBoard/profile_batch", "profile the script"),
        (
            [{"ModelCheckpoint": {"filepath": "{epoch.__class__}.keras"}}],
            "/callbacks/0/ModelCheckpoint/filepath",
            "with fields such as {epoch:02d}",
        ),
        ([{"ModelCheckpoint": {"filepath": "a.txt"}}], "/callbacks/0", "must end in '.keras' or '.h5'"),
        ([{"ModelCheckpoint": {"filepath": "a.weights.h5"}}], "/callbacks/0", "need save_weights_only"),
        (
            [{"ModelCheckpoint": {"filepath": "a.keras", "save_weights_only": True}}],
            "/callbacks/0",
            "must end in '.weights.h5'",
        ),
        (["TensorBoard", {"TensorBoard": {"log_dir": "./logs"}}], "/callbacks/1", "callback 0 (from 0) writes"),
        ([{"LearningRateScheduler": {"rates": [0.1]}}], "/callbacks/0", "rates has 1 entries; fit.epochs is 2"),
        ([{"LearningRateScheduler": {"schedule": "f"}}], "/callbacks/0/LearningRateScheduler", "needs the argument"),
        (["BackupAndRestore"], "/callbacks/0", "resumes from its checkpoints"),
        (["RemoteMonitor"], "/callbacks/0", "follow its events"),
        (["LambdaCallback"], "/callbacks/0", "no code travels"),
        (["ProgbarLogger"], "/callbacks/0", "follow the job"),
    ],
)
def test_callbacks_that_are_refused_say_why_and_where(callbacks, pointer, says):
    with pytest.raises(BadSpec) as caught:
        parse(job(*callbacks))
    wrong = {field.pointer: field.message for field in caught.value.fields}
    assert says in wrong[pointer]
