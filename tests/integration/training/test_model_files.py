"""Models and weights that come in files: read as Keras reads them, and trained on to the same bits."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.errors import BadData
from shared.sources.arrays import DatasetSource
from worker.training.kinds import ACTIONS
from worker.training.modelfiles.files import ModelFile
from worker.wire import Started

L = keras.layers
SOURCE = "job_00000000-0000-7000-8000-000000000002"
ROWS = {"dataset": "digits", "rows": [0, 64]}


def everything():
    """Return a model with a layer of each way in which Keras keeps variables."""
    image, words = keras.Input((8, 8), name="image"), keras.Input((5,), name="words", dtype="int32")
    x = L.Reshape((8, 8, 1))(image)
    x = L.SeparableConv2D(4, 3)(x)
    x = L.Conv2D(4, 3, padding="same")(x)
    x = L.BatchNormalization()(x)
    x = L.DepthwiseConv2D(3)(x)
    x = L.Conv2DTranspose(3, 2)(x)
    x = L.Reshape((25, 3))(x)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True))(x)
    x = L.TimeDistributed(L.Dense(4))(x)
    x = L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True)(x)
    x = L.MultiHeadAttention(2, 3)(x, x)
    x = L.GRU(4, reset_after=False)(L.LayerNormalization()(x))
    y = L.Embedding(9, 4)(words)
    y = L.Flatten()(L.SimpleRNN(3, return_sequences=True)(L.Conv1D(4, 2)(y)))
    y = keras.Sequential(
        [keras.Input((12,)), L.Dense(5), keras.Sequential([keras.Input((5,)), L.Dense(4)]), L.PReLU()]
    )(y)
    y = L.SpectralNormalization(L.Dense(4))(y)
    z = L.Concatenate()([x, y])
    return keras.Model([image, words], [L.Dense(3, name="one")(z), L.Dense(2, dtype="bfloat16", name="two")(z)])


def scrambled(model, seed=3):
    """Give every weight a value of its own."""
    numbers = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(numbers.uniform(0.1, 1.0, weight.shape))
    return model


def classifier(optimizer="adam"):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            L.Flatten(),
            L.Dense(16, activation="relu"),
            L.Dropout(0.25, seed=3),
            L.BatchNormalization(),
            L.Dense(10),
        ]
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def digits():
    from worker.training import datasets

    x, y = datasets.load(DatasetSource(dataset="digits", split="train"), None, 1.0)
    return x[:64].astype("float32"), y[:64]


def fitted(model, epochs=2):
    x, y = digits()
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(32), epochs=epochs, verbose=0)
    return model


def put(bench, name):
    path = bench.volume / "data" / name
    path.parent.mkdir(exist_ok=True)
    return path


def weights_of(bench, report, name):
    saved = np.load(bench.volume / report.checkpoints[name].file.path)
    return [saved[f"weights.{index}"] for index in range(len([n for n in saved.files if n.startswith("weights.")]))]


def train(**changes):
    spec = {"kind": "train", "data": {"train": ROWS, "shuffle": False}, "fit": {"epochs": 2}}
    return spec | changes


COMPILE = {
    "optimizer": "adam",
    "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
    "metrics": ["accuracy"],
}


def test_a_keras_file_predicts_as_the_model_that_was_saved(bench):
    model = fitted(classifier())
    model.save(put(bench, "model.keras"))
    x, _ = digits()
    ended, _ = bench.finish({"kind": "predict", "model": {"upload": "model.keras"}, "data": {"input": ROWS}})
    np.testing.assert_array_equal(np.float32(ended.value["predictions"]), model.predict(x, verbose=0))

    measured, _ = bench.finish({"kind": "evaluate", "model": {"upload": "model.keras"}, "data": {"test": ROWS}})
    expected = model.evaluate(tf.data.Dataset.from_tensor_slices(digits()).batch(32), return_dict=True, verbose=0)
    assert measured.value["metrics"] == expected


def test_training_goes_on_from_a_keras_file_as_fit_does(bench):
    fitted(classifier()).save(put(bench, "model.keras"))
    spec = train(model={"upload": "model.keras"}, compile={"continue_optimizer": True})
    _, report = bench.finish(spec)

    model = keras.models.load_model(put(bench, "model.keras"))
    fitted(model)
    for mine, weight in zip(weights_of(bench, report, "epoch-1"), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, weight)


def test_the_seeds_and_the_optimizer_of_a_job_go_on_in_the_next(bench):
    """Four epochs in two jobs are four epochs in one: by another job's checkpoint, and by the same file as weights."""
    architecture = json.loads(classifier().to_json())
    model = {"architecture": architecture}
    _, whole = bench.finish(train(model=model, compile=COMPILE, fit={"epochs": 4}))
    first, report = bench.finish(train(model=model, compile=COMPILE), attempt=2)
    saved = report.checkpoints[first.final_checkpoint]
    source = {
        "job": SOURCE,
        "checkpoint": saved.name,
        "file": {"path": saved.file.path, "bytes": saved.file.bytes, "sha256": saved.file.sha256},
        "model": {"upload": "a file that is gone"},
        "compile": None,
        "scale": None,
        "one_hot": None,
    }
    put(bench, "state.npz").write_bytes((bench.volume / saved.file.path).read_bytes())
    going_on = {
        "by job": train(model={"job": SOURCE}, compile={"continue_optimizer": True}),
        "by file": train(model={**model, "weights": "state.npz"}, compile={**COMPILE, "continue_optimizer": True}),
    }
    for index, (way, spec) in enumerate(going_on.items()):
        _, second = bench.finish(spec, attempt=3 + index, source=source if way == "by job" else None)
        assert second.checkpoints["epoch-1"].weights_sha256 == whole.checkpoints["epoch-3"].weights_sha256, way


def load(bench, name, model, budget=1 << 30):
    """Give a model the weights of a file as a runner does."""
    ModelFile(bench.volume, name, budget).load_weights(model)
    return model


def test_every_layer_finds_its_weights_in_a_file_of_keras_3(bench):
    saved = scrambled(everything())
    saved.compile("adam", "mse")
    saved.save(put(bench, "all.keras"))
    saved.save_weights(put(bench, "all.weights.h5"))
    for name in ("all.keras", "all.weights.h5"):
        ModelFile(bench.volume, name, 1 << 30).check_weights(everything())
        read = load(bench, name, scrambled(everything(), seed=4))
        for mine, theirs in zip(read.weights, saved.weights, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=f"{name} {theirs.path}")


@pytest.mark.parametrize("given", ["all.weights.json", "all.zip", "all.tar"])
def test_weights_that_keras_3_saved_in_several_files_are_one(bench, tmp_path, given):
    saved = scrambled(everything())
    (tmp_path / "w").mkdir()
    # In shards of about 1 kB: Keras cuts even single layers.
    saved.save_weights(tmp_path / "w" / "all.weights.json", max_shard_size=1e-6)
    assert len(list((tmp_path / "w").glob("*.h5"))) > 3
    if given.endswith("json"):
        shutil.copytree(tmp_path / "w", put(bench, given).parent, dirs_exist_ok=True)
    else:
        shutil.make_archive(put(bench, "all"), given[-3:], tmp_path, "w")
    ModelFile(bench.volume, given, 1 << 30).check_weights(everything())
    read = load(bench, given, scrambled(everything(), seed=4))
    for mine, theirs in zip(read.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=theirs.path)

    before = ModelFile(bench.volume, given, 1 << 30).sha256()
    scrambled(saved, seed=5).save_weights(tmp_path / "w" / "all.weights.json", max_shard_size=1e-6)
    if given.endswith("json"):
        shutil.copytree(tmp_path / "w", put(bench, given).parent, dirs_exist_ok=True)
        assert ModelFile(bench.volume, given, 1 << 30).sha256() != before


def test_what_a_layer_derives_from_its_weights_is_derived_anew(bench):
    adapted = L.Normalization()
    adapted.adapt(np.arange(40.0).reshape(10, 4))
    model = keras.Sequential([keras.Input((4,)), adapted, L.Dense(2)])
    model.save(put(bench, "model.keras"))
    rows = np.arange(8.0, dtype="float32").reshape(2, 4)
    source = {"x": rows.tolist()}
    ended, _ = bench.finish({"kind": "predict", "model": {"upload": "model.keras"}, "data": {"input": source}})
    np.testing.assert_array_equal(np.float32(ended.value["predictions"]), model.predict(rows, verbose=0))


def test_a_file_that_was_changed_between_two_attempts_is_refused(bench):
    fitted(classifier()).save(put(bench, "model.keras"))
    spec = train(model={"upload": "model.keras"}, fit={"epochs": 1})
    _, report = bench.finish(spec)
    (started,) = report.all(Started)
    fitted(classifier()).save(put(bench, "model.keras"))
    with pytest.raises(BadData, match=r"model\.keras was changed after the job had begun"):
        bench.finish(spec, attempt=2, numerics=started.numerics)


def test_a_check_counts_a_file_and_compares_its_weights(bench, recorder):
    fitted(classifier()).save(put(bench, "model.keras"))
    job = {"kind": "predict", "model": {"upload": "model.keras"}, "data": {"input": ROWS}}
    ended = ACTIONS["check"](bench.assignment(job), recorder())
    assert ended.value["parameters"] == classifier().count_params()

    job["model"] = {"layers": ["Flatten", {"Dense": {"units": 7}}], "input_shape": [8, 8], "weights": "model.keras"}
    with pytest.raises(BadData, match=r"shape \(64, 16\); kernel of layer 'dense' \(Dense\) takes shape \(64, 7\)"):
        ACTIONS["check"](bench.assignment(job), recorder())
