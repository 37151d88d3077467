"""Models in other formats: each file is read by those who read such files, and predicts as the checkpoint does."""

import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf_keras
import yaml

from shared.errors import BadSpec
from shared.formats import FILES, Format
from tests.integration.training.old_models import graph, rare
from worker.training import checkpoints
from worker.training.checkpoints import Position, Progress

SOURCE = "job_00000000-0000-7000-8000-00000000000b"
ROWS = 3


def mlp(k):
    """A Sequential of dense layers."""
    layers = [k.layers.Dense(8, activation="relu", kernel_regularizer="l2"), k.layers.LeakyReLU(0.2), k.layers.Dense(4)]
    return k.Sequential([k.Input((6,)), *layers])


def cnn(k):
    """Convolutions, moving averages, a random layer."""
    return k.Sequential(
        [
            k.Input((8, 8, 1)),
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.MaxPooling2D(),
            k.layers.Dropout(0.3),
            k.layers.Flatten(),
            k.layers.Dense(5),
        ]
    )


def rnn(k):
    """Recurrent layers, one wrapped and one not."""
    both = k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True))
    return k.Sequential([k.Input((5, 3)), both, k.layers.TimeDistributed(k.layers.Dense(4)), k.layers.GRU(3)])


def two(k):
    """A graph with two inputs."""
    left, right = k.Input((6,), name="left"), k.Input((4,), name="right")
    merged = k.layers.Concatenate()([k.layers.Dense(3)(left), k.layers.Dense(3, activation="tanh")(right)])
    return k.Model([left, right], k.layers.Dense(4, name="out")(merged))


def nested(k):
    """A model within a model."""
    inner = k.Sequential([k.Input((6,)), k.layers.Dense(5, activation="relu"), k.layers.Dense(3)])
    outer = k.Input((6,))
    return k.Model(outer, k.layers.Dense(4)(inner(outer)))


@dataclass
class Trained:
    """A checkpoint on a volume, and the model that was saved in it."""

    bench: Any
    source: dict[str, Any]
    make: Any
    model: Any
    x: list[np.ndarray]
    y: np.ndarray

    def export(self, form: str) -> Path:
        """Return the file of an export job that has run."""
        spec = {"kind": "export", "model": {"job": SOURCE}, "format": form}
        ended, report = self.bench.finish(spec, source=self.source)
        assert ended.value == {"format": form, "parameters": self.model.count_params()}
        assert report.artifact.content_type == FILES[Format(form)].content_type
        found = self.bench.volume / report.artifact.file.path
        assert not list(found.parent.glob(".*")), "nothing half written stays"
        return found

    def unzipped(self, form: str, to: Path) -> Path:
        with zipfile.ZipFile(self.export(form)) as archive:
            archive.extractall(to)
        return to

    def put(self, form: str, name: str) -> str:
        """Put an exported file below the volume's data folder; return its name there."""
        folder = self.bench.volume / "data"
        folder.mkdir(exist_ok=True)
        shutil.copy(self.export(form), folder / name)
        return name

    @property
    def data(self) -> dict[str, Any]:
        """The rows as a job names them, the inputs in their order."""
        inputs = {f"x{index}": one for index, one in enumerate(self.x)}
        return {"npz": self.bench.save("rows.npz", **inputs, y=self.y), "x": list(inputs) if len(inputs) > 1 else "x0"}

    def agrees(self, predicted: Any, what: str = "") -> None:
        np.testing.assert_allclose(predicted, self.expected, rtol=1e-4, atol=1e-5, err_msg=what)

    @property
    def inputs(self) -> Any:
        return self.x if len(self.x) > 1 else self.x[0]

    @property
    def expected(self) -> np.ndarray:
        return np.asarray(self.model(self.inputs, training=False))

    def fresh(self) -> Any:
        """Return the model with other weights."""
        made = keras.models.model_from_json(self.export("json").read_text())
        for weight in made.weights:
            weight.assign(weight + 1)
        return made

    def fresh_old(self) -> Any:
        """Return the model as a script for Keras 2 builds it, with other weights."""
        return self.make(tf_keras)


@pytest.fixture(scope="module", params=[mlp, cnn, rnn, two, nested])
def trained(request, benches):
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    return trained_of(benches(), request.param)


def trained_of(bench, make):
    model, made = make(keras), np.random.default_rng(3)
    x = [made.normal(size=(ROWS, *(n or 5 for n in one.shape[1:]))).astype("float32") for one in model.inputs]
    y = made.integers(0, model.output_shape[-1], size=ROWS)
    loss = {"SparseCategoricalCrossentropy": {"from_logits": True}}
    compiled = {"optimizer": {"Adam": {"learning_rate": 0.01}}, "loss": loss, "metrics": ["accuracy"]}
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(x if len(x) > 1 else x[0], y, epochs=2, verbose=0)
    path = f"jobs/{SOURCE}/1/checkpoints/epoch-1.npz"
    file = checkpoints.write(
        bench.volume,
        path,
        model,
        Progress(Position(2, 2), ROWS),
        about={},
        metrics=[],
        arrays={},
        weights_sha256=checkpoints.digest(model),
    )
    source = {
        "job": SOURCE,
        "checkpoint": "epoch-1",
        "file": asdict(file),
        "model": {"architecture": json.loads(model.to_json())},
        "compile": compiled,
        "scale": None,
        "one_hot": None,
    }
    return Trained(bench, source, make, model, x, y)


def assert_same_optimizer(model, other):
    assert type(model.optimizer) is type(other.optimizer)
    assert int(other.optimizer.iterations.numpy()) == 2
    for mine, theirs in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_keras_holds_the_whole_model(trained):
    loaded = keras.models.load_model(trained.export("keras"))

    trained.agrees(loaded.predict(trained.inputs, verbose=0))
    assert_same_optimizer(trained.model, loaded)
    measured = [one.evaluate(trained.inputs, trained.y, verbose=0) for one in (loaded, trained.model)]
    np.testing.assert_allclose(*measured, rtol=1e-4)


def test_h5_holds_the_whole_model_for_keras_3_and_for_keras_2(trained):
    file = trained.export("h5")
    loaded = keras.models.load_model(file)
    trained.agrees(loaded.predict(trained.inputs, verbose=0))
    # Keras 3 takes no more than the step from an .h5 file's optimizer; the file has all of it.
    assert int(loaded.optimizer.iterations.numpy()) == 2
    with h5py.File(file) as opened:
        saved = opened["optimizer_weights"]
        for name, variable in zip(saved.attrs["weight_names"], trained.model.optimizer.variables, strict=True):
            np.testing.assert_array_equal(saved[name], variable.numpy())

    if trained.make is nested:
        return  # Keras 3 reads no file in which Keras 2 would find the calls of a model within the model.
    old = tf_keras.models.load_model(file)
    trained.agrees(old.predict(trained.inputs, verbose=0))
    assert float(old.optimizer.learning_rate) == pytest.approx(0.01)
    losses = [one.evaluate(trained.inputs, trained.y, verbose=0)[0] for one in (old, trained.model)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_weights_are_read_by_keras_3_and_by_keras_2(trained, tmp_path):
    fresh = trained.fresh()
    fresh.load_weights(trained.export("weights.h5"))
    trained.agrees(fresh.predict(trained.inputs, verbose=0))

    file = trained.export("h5-weights")
    fresh, old = trained.fresh(), trained.fresh_old()
    fresh.load_weights(file)
    old.load_weights(file)
    trained.agrees(fresh.predict(trained.inputs, verbose=0))
    trained.agrees(old.predict(trained.inputs, verbose=0))


def test_weights_in_tensorflows_format_have_keras_2s_names(trained, tmp_path):
    folder = trained.unzipped("tf", tmp_path)
    old = trained.fresh_old()
    old.load_weights(folder / "model").assert_consumed()

    trained.agrees(old.predict(trained.inputs, verbose=0))
    assert tf.train.latest_checkpoint(folder) == str(folder / "model")
    names = set(tf.train.load_checkpoint(str(folder)).get_variable_to_shape_map())
    old.save_weights(tmp_path / "theirs" / "model", save_format="tf")
    assert names == set(tf.train.load_checkpoint(str(tmp_path / "theirs")).get_variable_to_shape_map())


def test_the_architecture_alone_is_json_or_yaml(trained):
    as_json, as_yaml = (
        json.loads(trained.export("json").read_text()),
        yaml.safe_load(trained.export("yaml").read_text()),
    )

    assert as_json == as_yaml == json.loads(trained.model.to_json()) | {"compile_config": {}}


def test_a_saved_model_serves(trained, tmp_path):
    served = tf.saved_model.load(trained.unzipped("savedmodel", tmp_path))

    trained.agrees(served.serve(trained.inputs))


def test_tflite_is_interpreted(trained):
    interpreter = tf.lite.Interpreter(str(trained.export("tflite")))
    runner = interpreter.get_signature_runner()
    names = list(runner.get_input_details())
    by_shape = {one.shape[1:]: one for one in trained.x}
    given = {name: by_shape[tuple(runner.get_input_details()[name]["shape"][1:])] for name in names}
    (predicted,) = runner(**given).values()

    trained.agrees(predicted)


def test_onnx_is_run(trained):
    session = onnxruntime.InferenceSession(trained.export("onnx"))
    names = [one.name for one in session.get_inputs()]
    (predicted,) = session.run(None, dict(zip(names, trained.x, strict=True)))

    trained.agrees(predicted)


#: What a job may be given of what came out: a whole model, or an architecture and weights.
BACK = [
    {"upload": "keras"},
    {"upload": "h5"},
    {"architecture": "json", "weights": "keras"},
    {"architecture": "json", "weights": "h5"},
    {"architecture": "json", "weights": "weights.h5"},
    {"architecture": "json", "weights": "tf"},
    {"architecture": "yaml", "weights": "h5-weights"},
]


@pytest.mark.parametrize("trained", [mlp, cnn, rnn, two, nested, graph, rare], indirect=True)
def test_what_came_out_goes_back_in(trained):
    files = {form: f"model{FILES[Format(form)].ending}" for form in ("keras", "h5", "weights.h5", "h5-weights", "tf")}
    for form, name in files.items():
        trained.put(form, name)
    for parts in BACK:
        model = {key: files.get(form) or trained.export(form).read_text() for key, form in parts.items()}
        spec = {"kind": "predict", "model": model, "data": {"input": trained.data}}
        ended, _ = trained.bench.finish(spec)
        trained.agrees(ended.value["predictions"], f"{parts}")


@pytest.mark.parametrize("trained", [mlp, two], indirect=True)
def test_training_goes_on_from_a_whole_model_as_from_the_checkpoint(trained):
    data = {"train": trained.data | {"y": "y"}}
    spec = {"kind": "train", "data": data, "compile": {"continue_optimizer": True}, "fit": {"epochs": 2}, "seed": 1}
    expected, _ = trained.bench.finish({**spec, "model": {"job": SOURCE}}, source=trained.source)
    for attempt, form in enumerate(("keras", "h5"), start=2):
        upload = trained.put(form, f"whole.{form}")
        ended, _ = trained.bench.finish({**spec, "model": {"upload": upload}}, attempt=attempt)
        assert ended.weights_sha256 == expected.weights_sha256, form


def test_a_format_that_cannot_hold_the_model_says_why(benches):
    """A recurrent layer over any number of steps cannot be written out step by step."""
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2), keras.layers.Dense(2)])
    with pytest.raises(BadSpec, match="cannot be written as tflite: ") as refused:
        trained_of(benches(), lambda k: model).export("tflite")
    assert "\n" not in refused.value.message
