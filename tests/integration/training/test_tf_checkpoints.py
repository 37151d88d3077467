"""Weights in TensorFlow's format, as Keras 2 saves them: read from archives and folders, and trained on."""

import json
import shutil
import tarfile
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from shared import store
from shared.errors import BadData, BadSpec
from tests.integration.training.old_models import dense, graph, inputs, random, rare, scrambled
from worker.training import tf_weights
from worker.training.kinds import ACTIONS
from worker.training.modelfiles.files import ModelFile
from worker.wire import Started

pytestmark = [pytest.mark.filterwarnings("ignore:::tf_keras")]


def saved(model, folder, name="my_model"):
    """Save weights as the notes do: `model.save_weights('./weights/my_model')`."""
    model.save_weights(folder / name, save_format="tf")
    return folder


def packed(folder, to):
    """Pack a folder into an archive whose kind its name says."""
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"weights/{path.name}")
        return to
    with tarfile.open(to, "w:gz" if to.suffix == ".gz" else "w") as archive:
        archive.add(folder, "./weights")
    return to


def read(volume, name, model, budget=1 << 30):
    ModelFile(volume, name, budget).load_weights(model)
    return model


def keys(prefix):
    return set(tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map())


@pytest.mark.parametrize("make", [graph, rare])
def test_weights_give_the_same_predictions_however_they_come(volume, tmp_path, make):
    old = scrambled(make(tf_keras))
    data = volume / "data"
    folder = saved(old, tmp_path / "weights")
    shutil.copytree(folder, data / "weights")
    for name in ("model.zip", "model.tar", "model.tar.gz"):
        packed(folder, data / name)
    for name in ("weights/my_model", "weights/my_model.index", "model.zip", "model.tar", "model.tar.gz"):
        new = make(keras)
        ModelFile(volume, name, 1 << 30).check_weights(new)
        given = inputs(read(volume, name, new))
        predicted = [one.predict(given, verbose=0) for one in (new, old)]
        np.testing.assert_allclose(*predicted, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make", [graph, rare])
def test_what_is_written_has_the_names_of_keras_2_and_is_read_by_both(volume, tmp_path, make):
    new = scrambled(make(keras))
    folder = volume / "data" / "ours"
    folder.mkdir()
    tf_weights.save(new, folder)
    assert keys(folder / "model") == keys(saved(make(tf_keras), tmp_path / "theirs") / "my_model")
    old = make(tf_keras)
    old.load_weights(folder / "model").assert_consumed()
    given = inputs(new)
    expected = new.predict(given, verbose=0)
    np.testing.assert_allclose(old.predict(given, verbose=0), expected, rtol=2e-5, atol=1e-6)
    again = read(volume, "ours/model", make(keras))
    np.testing.assert_array_equal(again.predict(given, verbose=0), expected)


def test_several_shards_are_one_checkpoint(volume, tmp_path):
    folder = volume / "data" / "weights"
    folder.mkdir()
    old = scrambled(dense(tf_keras, "sgd"))
    reader = tf.train.load_checkpoint(str(saved(old, tmp_path / "one") / "my_model"))
    names = sorted(reader.get_variable_to_shape_map())
    for number, part in enumerate((names[:2], names[2:])):
        tensors = [tf.constant(reader.get_tensor(name)) for name in part]
        tf.raw_ops.SaveV2(
            prefix=f"{tmp_path}/part{number}", tensor_names=part, shape_and_slices=[""] * len(part), tensors=tensors
        )
    parts = [f"{tmp_path}/part0", f"{tmp_path}/part1"]
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(folder / "model"))
    assert len(list(folder.glob("model.data-*-of-00002"))) == 2

    new = read(volume, "weights/model", dense(keras, "sgd"))
    for one, other in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    (folder / "model.data-00001-of-00002").unlink()
    with pytest.raises(BadData, match=r"There is no file 'weights/model\.data-00001-of-00002'"):
        read(volume, "weights/model", new)


def test_a_checkpoint_that_names_the_model_is_read(volume):
    """As `tf.train.Checkpoint(model=model, optimizer=optimizer).save(...)` writes it."""
    old = scrambled(dense(tf_keras, "adam"))
    tf.train.Checkpoint(model=old, optimizer=old.optimizer).save(str(volume / "data" / "weights" / "ckpt"))
    new = read(volume, "weights/ckpt-1", dense(keras, "adam"))
    for one, other in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("optimizer", ["Adam", "legacy.Adam", "SGD", "legacy.SGD", "legacy.RMSprop", "Adagrad"])
def test_training_goes_on_with_the_optimizer_of_keras_2(volume, optimizer):
    x, y = random((32, 4), (32, 2))
    where = tf_keras.optimizers.legacy if optimizer.startswith("legacy") else tf_keras.optimizers
    name = optimizer.removeprefix("legacy.")
    arguments = {"momentum": 0.9} if name == "SGD" else {}
    old = dense(tf_keras, getattr(where, name)(0.01, **arguments))
    old.fit(x, y, epochs=2, shuffle=False, verbose=0)
    old.optimizer.learning_rate = 0.02
    saved(old, volume / "data" / "weights")

    new = dense(keras, getattr(keras.optimizers, name)(0.01, **arguments))
    new.optimizer.build(new.trainable_variables)
    file = ModelFile(volume, "weights/my_model", 1 << 30)
    file.load_weights(new)
    file.load_optimizer(new, [])
    assert int(new.optimizer.iterations) == 2
    assert float(new.optimizer.learning_rate) == pytest.approx(0.02)
    old.fit(x, y, epochs=2, shuffle=False, verbose=0)
    new.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(32), epochs=2, verbose=0)
    for one, other in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_state_that_does_not_fit_is_refused(volume):
    folder = volume / "data"
    trained = dense(tf_keras, "adam")
    trained.fit(*random((32, 4), (32, 2)), verbose=0)
    saved(trained, folder, "adam")
    tf_weights.save(dense(keras, "sgd"), folder)
    new = dense(keras, keras.optimizers.SGD(0.01))
    new.optimizer.build(new.trainable_variables)
    for name, said in (("adam", "holds the slot 'v', which SGD has not"), ("model", "holds no state of an optimizer")):
        with pytest.raises(BadSpec, match=rf"{said}.*Leave compile\.continue_optimizer out"):
            ModelFile(volume, name, 1 << 30).load_optimizer(new, [])


def job(bench, **changes):
    model = {"architecture": json.loads(dense(keras, "sgd").to_json()), "weights": "weights/my_model"}
    return {"kind": "predict", "model": model, "data": {"input": {"x": random((3, 4))[0].tolist()}}} | changes


def test_a_job_takes_them_and_notices_when_they_change(bench, recorder):
    data = bench.volume / "data"
    data.mkdir(exist_ok=True)
    old = scrambled(dense(tf_keras, "sgd"), seed=4)
    saved(old, data / "weights")
    spec = job(bench)
    (data / "weights.zip").write_bytes(packed(data / "weights", data / "x.zip").read_bytes())
    expected = old.predict(random((3, 4))[0], verbose=0)
    for name in ("weights/my_model", "weights.zip"):
        ended, report = bench.finish({**spec, "model": {**spec["model"], "weights": name}})
        np.testing.assert_allclose(ended.value["predictions"], expected, rtol=1e-5)
        check = ACTIONS["check"](bench.assignment(spec), recorder())
        assert check.value["parameters"] == 4 * 3 + 3 + 3 * 2 + 2
        (started,) = report.all(Started)
    store.check_data(bench.volume, "weights/my_model", prefix=True)

    _, report = bench.finish(spec)
    (started,) = report.all(Started)
    shard = data / "weights" / "my_model.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(BadData, match="weights/my_model was changed after the job had begun"):
        bench.finish(spec, attempt=2, numerics=started.numerics)


def test_a_whole_model_is_asked_for_by_its_name(bench):
    folder = bench.volume / "data" / "w"
    folder.mkdir(parents=True)
    tf_weights.save(dense(keras, "sgd"), folder)
    packed(folder, folder.parent / "weights.zip")
    with pytest.raises(BadData, match="give it as weights beside the model's layers or architecture"):
        bench.finish(job(bench, model={"upload": "weights.zip"}))
