"""A model's variables between here and a worker: the client's own reader and writer against the worker's."""

import keras
import numpy as np
import pytest
from keras import layers

from fitq.errors import BadDownload, CannotTravel
from fitq.local import checkpoint, state
from shared import store
from worker.training import checkpoints
from worker.training.checkpoints import Position, Progress

X, Y = np.random.default_rng(0).random((32, 4)).astype("float32"), np.arange(32) % 3


def trained(*, dtype="float32"):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu", dtype=dtype),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, epochs=1, verbose=0)
    return model


def fresh(model):
    clone = keras.models.model_from_json(model.to_json())
    clone.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return clone


def values(model):
    variables = [*model.weights, *model.variables, *model.optimizer.variables]
    return [np.array(one.numpy()).tobytes() for one in variables]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_worker_wrote_is_read_here_and_the_other_way_round(volume, tmp_path, dtype):
    model = trained(dtype=dtype)
    saved = Progress(Position(3, 1), 32, stop_training=True, callbacks=[{"best": 0.5}])
    path = store.checkpoint_path("job_1", 1, "final")
    sha256 = checkpoints.digest(model)
    stored = checkpoints.write(volume, path, model, saved, metrics=[], arrays={}, weights_sha256=sha256, about={})

    contents = checkpoint.read(volume / stored.path)
    here = fresh(model)
    state.restore(here, contents)
    assert values(here) == values(model)
    assert contents.progress["stop_training"] is True
    assert contents.progress["callbacks"] == [{"best": 0.5}]
    assert checkpoint.digest(contents.groups["weights"]) == sha256

    # And back: what this client writes, the worker takes for its own.
    target = volume / "back.npz"
    with target.open("wb") as file:
        checkpoint.write(file, state.captured(here, optimizer=True), keras_version=keras.__version__)
    found = checkpoints.read(volume, store.describe(volume, "back.npz"))
    there = fresh(model)
    there.optimizer.build(there.trainable_variables)
    checkpoints.check(found, there)
    checkpoints.apply(found, there)
    assert values(there) == values(model)
    assert found.manifest["weights_sha256"] == checkpoints.digest(here)
    assert there.optimizer.iterations == model.optimizer.iterations

    again = tmp_path / "again.npz"
    with again.open("wb") as file:
        checkpoint.write(file, state.captured(here, optimizer=True), keras_version=keras.__version__)
    assert again.read_bytes() == target.read_bytes(), "the same model is the same upload"


def test_what_a_layer_derives_from_its_variables_is_derived_anew():
    normalization = layers.Normalization()
    normalization.adapt(X * 9)
    model = keras.Sequential([keras.Input((4,)), keras.Sequential([normalization]), layers.Dense(3)])
    here = keras.models.model_from_json(model.to_json())
    state.restore(here, state.captured(model, optimizer=False))
    np.testing.assert_array_equal(here.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_that_is_another_one_keeps_what_it_has(tmp_path):
    model = trained()
    path = tmp_path / "checkpoint.npz"
    with path.open("wb") as file:
        checkpoint.write(file, state.captured(model, optimizer=False), keras_version="3")
    other = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.Dense(4)])
    kept = [one.numpy() for one in other.weights]
    with pytest.raises(CannotTravel, match="another model"):
        state.restore(other, checkpoint.read(path))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(kept, other.weights, strict=True))
    with pytest.raises(CannotTravel, match="not built"):
        state.restore(keras.Sequential([layers.Dense(8)]), checkpoint.read(path))

    for wrong in (path.read_bytes()[:-100], b"no archive", b""):
        path.write_bytes(wrong)
        with pytest.raises(BadDownload, match="no fitq checkpoint"):
            checkpoint.read(path)
