"""The notes that fitq was asked for, snippet by snippet, through the SDK: Keras's calls with `queue.` before them."""

import json
import os
import pprint
import re
import signal
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from nbclient import NotebookClient
from tensorflow.python.framework import config as tensorflow_config

from fitq.errors import CannotTravel
from fitq.local import waiting
from shared.sources.arrays import DatasetSource
from tests.e2e.stacks import ROOT, Stack, until
from worker.training import datasets

#: Seconds that one call may take on a busy machine.
PATIENCE_S = 120
pytestmark = [
    pytest.mark.timeout(600),
    *(
        pytest.mark.filterwarnings(f"ignore:::{module}")
        for module in ("keras", "tensorflow", "numpy", "jupyter_client")
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _deterministic():
    """Let TensorFlow give the same bits twice here, too, as it does in a runner."""
    tf.config.experimental.enable_op_determinism()
    yield
    tensorflow_config.disable_op_determinism()


@pytest.fixture(scope="module")
def notes_stack(tmp_path_factory):
    """An embedded stack with one slot, whose runner has the threads that TensorFlow takes here."""
    stack = Stack(tmp_path_factory.mktemp("notes"), FITQ_SLOTS="1").start()
    yield stack
    stack.stop()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    """Look at a running job's files after every epoch, as it happens when training takes longer than here."""
    monkeypatch.setattr(waiting, "_LOOK_S", 0.0)


@pytest.fixture
def queue(notes_stack):
    with notes_stack.queue() as found:
        yield found


def twin(model):
    """Return a model of equal weights and equal random state, as it is compiled."""
    other = keras.models.clone_model(model)
    other.compile_from_config(model.get_compile_config())
    other.set_weights(model.get_weights())
    for mine, theirs in zip(other.variables, model.variables, strict=True):
        mine.assign(theirs.numpy())
    return other


def same(one, other):
    """Whether two models have equal variables, to the bit."""
    pairs = zip(one.variables + one.optimizer.variables, other.variables + other.optimizer.variables, strict=True)
    return [a.path for a, b in pairs if a.numpy().tobytes() != b.numpy().tobytes()] == []


def test_chapter_one_training_evaluation_prediction(queue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    # 1.1
    model = tf.keras.Sequential()
    model.add(layers.Dense(32, activation="relu"))
    model.add(layers.Dense(32, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    # 2.1
    model.compile(
        optimizer=tf.keras.optimizers.Adam(0.001),
        loss=tf.keras.losses.categorical_crossentropy,
        metrics=[tf.keras.metrics.categorical_accuracy],
    )
    # 2.2.1
    train_x, train_y = numbers.random((1000, 72)), numbers.random((1000, 10))
    val_x, val_y = numbers.random((200, 72)), numbers.random((200, 10))
    history = queue.fit(model, train_x, train_y, epochs=10, batch_size=100, validation_data=(val_x, val_y), verbose=0)
    assert isinstance(history, keras.callbacks.History)
    assert (history.epoch, history.model, model.history) == (list(range(10)), model, history)
    assert list(history.history) == [
        "categorical_accuracy",
        "loss",
        "val_categorical_accuracy",
        "val_loss",
    ]
    assert all(len(values) == 10 for values in history.history.values())
    assert history.params == {"verbose": 0, "epochs": 10, "steps": 10}
    assert int(model.optimizer.iterations) == 100

    # 2.2
    dataset = tf.data.Dataset.from_tensor_slices((train_x, train_y)).batch(32).repeat()
    val_dataset = tf.data.Dataset.from_tensor_slices((val_x, val_y)).batch(32).repeat()
    local = twin(model)
    local.optimizer.build(local.trainable_variables)
    for mine, theirs in zip(local.optimizer.variables, model.optimizer.variables, strict=True):
        mine.assign(theirs.numpy())
    arguments = {"epochs": 10, "steps_per_epoch": 30, "validation_data": val_dataset, "validation_steps": 3}
    history = queue.fit(model, dataset, **arguments, verbose=0)
    assert int(model.optimizer.iterations) == 400, "the same optimizer goes on"
    expected = local.fit(dataset, **arguments, verbose=0)
    assert history.history == expected.history
    assert same(model, local)

    # 2.3
    test_x, test_y = numbers.random((1000, 72)), numbers.random((1000, 10))
    assert queue.evaluate(model, test_x, test_y, batch_size=32, verbose=0) == local.evaluate(
        test_x, test_y, batch_size=32, verbose=0
    )
    test_data = tf.data.Dataset.from_tensor_slices((test_x, test_y)).batch(32).repeat()
    assert queue.evaluate(model, test_data, steps=30, verbose=0, return_dict=True) == local.evaluate(
        test_data, steps=30, verbose=0, return_dict=True
    )

    # 2.4
    result = queue.predict(model, test_x, batch_size=32, verbose=0)
    np.testing.assert_array_equal(result, local.predict(test_x, batch_size=32, verbose=0))

    # 2.5
    callbacks = [
        tf.keras.callbacks.EarlyStopping(patience=2, monitor="val_loss"),
        tf.keras.callbacks.TensorBoard(log_dir="./logs"),
    ]
    history = queue.fit(
        model,
        train_x,
        train_y,
        batch_size=16,
        epochs=5,
        callbacks=callbacks,
        validation_data=(val_x, val_y),
        verbose=0,
    )
    assert len(history.epoch) == 5 or callbacks[0].stopped_epoch == history.epoch[-1]
    assert model.stop_training == (len(history.epoch) < 5)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["train", "validation"]
    assert list((tmp_path / "logs" / "train").glob("events.out.tfevents.*"))


@pytest.fixture(scope="module")
def trained(notes_stack):
    """The notes' first model, trained by a job that did not keep anybody waiting, and that job."""
    numbers = np.random.default_rng(5)
    model = tf.keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
    model.compile(tf.keras.optimizers.Adam(0.001), "categorical_crossentropy", metrics=["categorical_accuracy"])
    with notes_stack.queue() as queue:
        job = queue.submit.fit(model, numbers.random((100, 72)), numbers.random((100, 10)), epochs=2)
        yield model, job.wait(PATIENCE_S).raise_for_state().load_into(model)


TEST_X = np.random.default_rng(6).random((40, 72))


def test_chapter_three_weights(queue, trained, tmp_path):
    """3.1: `save_weights` in TensorFlow's format and as h5, and `load_weights`."""
    import tf_keras

    model, job = trained
    expected = model.predict(TEST_X, verbose=0)
    with zipfile.ZipFile(job.pull("tf", tmp_path / "weights.zip")) as archive:
        archive.extractall(tmp_path / "weights")
    old = tf_keras.Sequential([tf_keras.layers.Dense(32, "relu"), tf_keras.layers.Dense(10, "softmax")])
    old.build((None, 72))
    old.load_weights(tmp_path / "weights" / "model").assert_consumed()
    np.testing.assert_allclose(old.predict(TEST_X, verbose=0), expected, rtol=1e-5, atol=1e-6)

    # h5: the older form that Keras 2 wrote, and Keras 3's own.
    forms = {"h5-weights": "older.h5", "weights.h5": "model.weights.h5"}
    saved = [job.pull(form, tmp_path / name) for form, name in forms.items()]
    for file in saved:
        fresh = keras.models.clone_model(model)
        fresh.build((None, 72))
        fresh.load_weights(file)
        np.testing.assert_array_equal(fresh.predict(TEST_X, verbose=0), expected)
    # A job begins with any of them.
    for file in (tmp_path / "weights.zip", *saved):
        spec = {
            "kind": "predict",
            "model": {"architecture": model.to_json(), "weights": queue.upload(file)},
            "data": {"input": {"x": TEST_X.tolist()}},
        }
        predicted = queue.submit(spec).wait(PATIENCE_S).raise_for_state().result()["value"]["predictions"]
        np.testing.assert_array_equal(np.array(predicted, "float32"), expected)


def test_chapter_three_architectures(queue, trained, tmp_path):
    """3.2: JSON and YAML, out of a model and into a fresh one."""
    model, job = trained
    json_str = model.to_json()
    pprint.pformat(json.loads(json_str))
    pulled = {form: job.pull(form, tmp_path / f"model.{form}").read_text() for form in ("json", "yaml")}
    assert pulled["yaml"].startswith(("class_name:", "module:"))
    # What Keras 3 no longer reads itself, fitq reads: `model_from_yaml` is `convert` and `model_from_json`.
    for text in (json_str, pulled["json"], json.dumps(queue.convert(pulled["yaml"])["architecture"])):
        fresh_model = tf.keras.models.model_from_json(text)
        fresh_model.build((None, 72))
        fresh_model.set_weights(model.get_weights())
        np.testing.assert_array_equal(queue.predict(fresh_model, TEST_X, verbose=0), model.predict(TEST_X, verbose=0))
    # And what the notes print of an older Keras becomes a model of this one.
    for name in ("notes.json", "notes.yaml"):
        converted = queue.convert((ROOT / "examples" / "models" / name).read_text())
        assert converted["changes"]
        old = tf.keras.models.model_from_json(json.dumps(converted["architecture"]))
        assert [layer.name for layer in old.layers] == ["dense_23", "dense_24"]
        assert queue.predict(old, np.zeros((2, 32)), verbose=0).shape == (2, 10)


def test_chapter_three_whole_models(queue, trained, tmp_path):
    """3.3: `save` and `load_model`, from a job to here and from here to a job."""
    model, job = trained
    expected = model.predict(TEST_X, verbose=0)
    for form, name in (("h5", "all_model.h5"), ("keras", "all_model.keras")):
        loaded = tf.keras.models.load_model(job.pull(form, tmp_path / name))
        np.testing.assert_array_equal(loaded.predict(TEST_X, verbose=0), expected)
        assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 8

        here = tmp_path / f"here-{name}"
        model.save(here)
        spec = {
            "kind": "predict",
            "model": {"upload": queue.upload(here)},
            "data": {"input": {"x": TEST_X.tolist()}},
        }
        predicted = queue.submit(spec).wait(PATIENCE_S).raise_for_state().result()["value"]["predictions"]
        np.testing.assert_array_equal(np.array(predicted, "float32"), expected)


def test_a_fit_is_keras_s_to_the_bit_and_goes_on_where_it_was(queue, tmp_path):
    numbers = np.random.default_rng(1)
    x, y = numbers.random((120, 6)), numbers.integers(0, 3, 120)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    local = twin(model)
    arguments = {"batch_size": np.int64(16), "shuffle": False, "validation_split": np.float32(0.3), "verbose": 0}
    weights = {np.int64(0): 1.0, 1: np.float32(2.1), 2: 0.5}
    for epochs in ({"epochs": 2}, {"epochs": np.int32(4), "initial_epoch": 2, "class_weight": weights}):
        expected = local.fit(x, y, **epochs, **arguments)
        history = queue.fit(model, x, y, **epochs, **arguments, seed=3, name="twins", tags={"kind": "test"})
        assert history.history == expected.history
        assert history.epoch == expected.epoch
        assert same(model, local), "weights, optimizer, the Dropout's seed"

    # And what the local model does next is the same, too.
    assert model.fit(x, y, **arguments).history == local.fit(x, y, **arguments).history

    # Without waiting, and into another model later.
    job = queue.submit.fit(model, x, y, epochs=3, batch_size=16)
    assert queue.job(job.id).watch(PATIENCE_S).state == "succeeded"
    assert len(job.history()["loss"]) == 3
    other = twin(model)
    queue.job(job.id).load_into(other)
    assert not same(other, model)
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations) + 3 * 8
    measured = queue.submit.evaluate(other, x, y).wait(PATIENCE_S).result()["value"]["metrics"]
    assert measured == other.evaluate(x, y, verbose=0, return_dict=True)


def test_callbacks_do_their_work_there_and_leave_their_files_here(queue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(2)
    x, y = numbers.random((64, 4)), numbers.random((64, 1))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    local = twin(model)

    def callbacks(folder):
        (folder / "log.csv").parent.mkdir(exist_ok=True)
        (folder / "log.csv").write_text("epoch,learning_rate,loss,mae\n7,0,0,0\n")
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5 if epoch else 0.02),
            keras.callbacks.ModelCheckpoint(folder / "best" / "{epoch:02d}.keras"),
            keras.callbacks.CSVLogger(folder / "log.csv", append=True),
            keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=2),
            keras.callbacks.TerminateOnNaN(),
        ]

    mine, theirs = callbacks(tmp_path / "mine"), callbacks(tmp_path / "theirs")
    expected = local.fit(x, y, epochs=6, shuffle=False, callbacks=theirs, verbose=0)
    history = queue.fit(model, x, y, epochs=6, shuffle=False, callbacks=mine, verbose=0)
    assert history.history == expected.history
    assert same(model, local)
    assert (model.stop_training, mine[3].stopped_epoch, mine[3].best) == (True, 2, theirs[3].best)
    assert (tmp_path / "mine" / "log.csv").read_text() == (tmp_path / "theirs" / "log.csv").read_text()
    assert [path.name for path in sorted((tmp_path / "mine" / "best").iterdir())] == [
        path.name for path in sorted((tmp_path / "theirs" / "best").iterdir())
    ]
    saved = keras.models.load_model(tmp_path / "mine" / "best" / "03.keras")
    np.testing.assert_array_equal(saved.predict(x, verbose=0), local.predict(x, verbose=0))


def test_several_inputs_and_outputs_travel_in_their_structure(queue):
    numbers = np.random.default_rng(3)
    a, b = numbers.random((40, 3)), numbers.random((40, 2))
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    joined = layers.Concatenate()([left, right])
    outputs = {"sum": layers.Dense(1, name="sum")(joined), "kind": layers.Dense(3, name="kind")(joined)}
    model = keras.Model({"left": left, "right": right}, outputs)
    model.compile(
        "rmsprop",
        loss={"sum": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        loss_weights={"sum": 0.5, "kind": 1.0},
        metrics={"sum": ["mae"], "kind": ["accuracy"]},
    )
    x, y = {"left": a, "right": b}, {"sum": numbers.random((40, 1)), "kind": numbers.integers(0, 3, 40)}
    local = twin(model)
    expected = local.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert queue.fit(model, x, y, epochs=2, batch_size=8, shuffle=False, verbose=0).history == expected.history
    assert same(model, local)
    assert queue.evaluate(model, x, y, verbose=0) == local.evaluate(x, y, verbose=0)
    found, wanted = queue.predict(model, x, verbose=0), local.predict(x, verbose=0)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


class Shuffled(keras.utils.PyDataset):
    """Batches of rows that it orders anew after each epoch, by itself."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y
        self.numbers = np.random.default_rng(0)
        self.order = np.arange(len(x))

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, index):
        rows = self.order[index * 8 : index * 8 + 8]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.order = self.numbers.permutation(len(self.x))


def generated(x, y):
    while True:
        for start in range(0, len(x), 16):
            yield x[start : start + 16], y[start : start + 16]


def classifier():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return model


def test_weights_frames_and_generators_count_as_in_keras(queue):
    numbers = np.random.default_rng(8)
    x, y, weights = numbers.random((48, 5)), numbers.integers(0, 3, 48), numbers.random(48)
    frame, series = pd.DataFrame(x, columns=list("abcde")), pd.Series(y)
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    by_class = {0: 1.0, 1: 3.0, 2: 0.5}
    calls = {
        "sample_weight": lambda: {"x": x, "y": y, "sample_weight": weights, "validation_data": (x, y, weights)},
        "class_weight": lambda: {"x": x, "y": y, "class_weight": by_class, "validation_data": (x, y)},
        "class_weight of a data set": lambda: {"x": rows.batch(16), "class_weight": by_class},
        "pandas": lambda: {"x": frame, "y": series, "validation_split": 0.25},
        "lists": lambda: {"x": x.tolist(), "y": y.tolist()},
        "PyDataset": lambda: {"x": Shuffled(x, y)},
        "generator": lambda: {"x": generated(x, y), "steps_per_epoch": 2},
    }
    for name, call in calls.items():
        # Labels of a Series are a column: Keras's own functions, once traced, take no other rank.
        model = classifier()
        local = twin(model)
        # Keras itself takes no lists for labels.
        given = call() if name != "lists" else {"x": x, "y": y}
        expected = local.fit(**given, epochs=2, shuffle=False, verbose=0)
        history = queue.fit(model, **call(), epochs=2, shuffle=False, verbose=0)
        assert history.history == expected.history, name
        assert same(model, local), name
    model = classifier()
    local = twin(model)
    assert queue.evaluate(model, frame, series, sample_weight=weights, verbose=0) == local.evaluate(
        frame, series, sample_weight=weights, verbose=0
    )
    np.testing.assert_array_equal(queue.predict(model, frame, verbose=0), local.predict(frame, verbose=0))
    with pytest.raises(CannotTravel, match="x is a RaggedTensor: only dense"):
        queue.fit(model, tf.ragged.constant([[1.0], [1.0, 2.0]]), y[:2])


def test_a_shuffled_data_set_gives_each_epoch_an_order_of_its_own_as_in_keras(queue):
    numbers = np.random.default_rng(10)
    x, y = numbers.random((43, 5)), numbers.integers(0, 3, 43)

    def shuffled():
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40, seed=1).batch(8)

    calls = {
        "of known length": lambda: {"x": shuffled()},
        "with steps": lambda: {"x": shuffled(), "steps_per_epoch": 6},
        "with half an epoch's steps": lambda: {"x": shuffled(), "steps_per_epoch": 3},
        "from an epoch on": lambda: {"x": shuffled(), "initial_epoch": 1},
        "shuffled twice": lambda: {"x": shuffled().shuffle(3, seed=2)},
    }
    for name, call in calls.items():
        model = classifier()
        local = twin(model)
        expected = local.fit(**call(), epochs=3, verbose=0)
        history = queue.fit(model, **call(), epochs=3, verbose=0)
        assert (history.history, history.epoch) == (expected.history, expected.epoch), name
        assert same(model, local), name


def test_each_output_may_have_weights_of_its_own(queue):
    numbers = np.random.default_rng(9)
    entrance = keras.Input((4,), name="in")
    outputs = {"sum": layers.Dense(1, name="sum")(entrance), "kind": layers.Dense(2, name="kind")(entrance)}
    model = keras.Model({"in": entrance}, outputs)
    model.compile("sgd", {"sum": "mse", "kind": "mae"})
    x, y = {"in": numbers.random((24, 4))}, {"sum": numbers.random((24, 1)), "kind": numbers.random((24, 2))}
    weights = {"sum": numbers.random(24), "kind": numbers.random(24)}
    local = twin(model)
    arguments = {"sample_weight": weights, "epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
    assert queue.fit(model, x, y, **arguments).history == local.fit(x, y, **arguments).history
    assert same(model, local)


_SCRIPT = """
import sys, keras, numpy, fitq
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
fitq.connect(sys.argv[1]).fit(model, numpy.zeros((512, 4)), numpy.zeros((512, 2)), epochs=5000, batch_size=1)
"""


def test_ctrl_c_leaves_the_job_alone_and_says_so(notes_stack, queue):
    waiting = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, notes_stack.state["url"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    job = until(lambda: next(iter(queue.jobs(states=["running"], limit=1)), None), "a running job")
    until(lambda: job.refresh().data.get("progress"), "progress")
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=60)
    assert f"The job {job.id} goes on." in said
    assert f'queue.job("{job.id}").cancel()' in said
    assert "KeyboardInterrupt" in said
    assert job.refresh().state == "running"
    job.cancel(now=True)
    assert job.wait(PATIENCE_S).state == "cancelled"


def test_a_fit_outlives_an_api_that_dies_again_and_again(notes_stack, queue, tmp_path):
    numbers = np.random.default_rng(10)
    x, y = numbers.random((256, 4)), numbers.random((256, 2))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    local = twin(model)
    arguments = {"epochs": 60, "batch_size": 1, "shuffle": False, "verbose": 0}
    ended = threading.Event()

    def kill():
        until(lambda: next(queue.jobs(states=["running"], limit=1), None), "a running job")
        deaths = 0
        while not ended.wait(0.1):
            notes_stack.kill("fitq api")
            deaths += 1
            until(notes_stack.ready, "an API that answers")
        return deaths

    with ThreadPoolExecutor(1) as killer:
        deaths = killer.submit(kill)
        try:
            history = queue.fit(model, x, y, **arguments, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")])
        finally:
            ended.set()
    assert deaths.result() >= 2
    assert history.history == local.fit(x, y, **arguments).history
    assert same(model, local)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 61


_MODEL = """
model = keras.Sequential([keras.layers.Dense(4, activation='relu'), keras.layers.Dense(1)])
model.compile('adam', 'mse', metrics=['mae'])
x, y = np.random.random((64, 3)), np.random.random((64, 1))
"""


def test_a_notebook_shows_what_keras_shows(notes_stack, tmp_path):
    cells = [
        f"import keras, numpy as np, fitq\nqueue = fitq.connect({notes_stack.state['url']!r})",
        _MODEL,
        "history = queue.fit(model, x, y, epochs=3, batch_size=8, validation_data=(x, y))",
        "queue.evaluate(model, x, y, verbose=2)",
        "queue.predict(model, x).shape, history",
        "queue.submit.fit(model, x, y, epochs=2).watch()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        book, timeout=PATIENCE_S, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    texts = ["".join(part.get("text", "") for part in cell["outputs"]) for cell in book.cells]
    texts = [re.sub(r"\x1b\[\d+m", "", text) for text in texts]
    results = [[part["data"]["text/plain"] for part in cell["outputs"] if "data" in part] for cell in book.cells]
    for epoch in (1, 2, 3):
        assert re.search(rf"Epoch {epoch}/3\n.*8/8 .*step.* - loss: .* - mae: .* - val_loss: ", texts[2], re.DOTALL)
    assert re.search(r"2/2 - \d+s - .* - loss: ", texts[3])
    assert results[3][0].startswith("[")
    assert "(64, 1)" in results[4][0]
    assert "History" in results[4][0]
    assert re.search(r"Epoch 2/2  ", texts[5])
    assert "succeeded" in results[5][0]


def images():
    """Return Fashion-MNIST where it is at hand, else images that look as little alike."""
    if os.environ.get("FITQ_DATASETS"):
        folder = Path(os.environ["FITQ_DATASETS"])
        parts = (DatasetSource(dataset="fashion_mnist", split=split) for split in ("train", "test"))
        train, test = (datasets.load(part, folder, PATIENCE_S) for part in parts)
        return train, test
    numbers = np.random.default_rng(4)
    labels = numbers.integers(0, 10, 1200).astype("uint8")
    pictures = numbers.integers(0, 90, (1200, 28, 28)).astype("uint8")
    pictures[np.arange(1200), labels * 2, :] += 120
    return (pictures[:1000], labels[:1000]), (pictures[1000:], labels[1000:])


def test_chapter_two_images(queue, capsys):
    keras.utils.set_random_seed(0)
    (train_images, train_labels), (test_images, test_labels) = images()
    train_images, test_images = train_images[:5000] / 255.0, test_images[:1000] / 255.0
    train_labels, test_labels = train_labels[:5000], test_labels[:1000]
    model = keras.Sequential(
        [
            tf.keras.layers.Flatten(input_shape=(28, 28)),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer="adam", loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    queue.fit(model, train_images, train_labels, epochs=10, seed=0)
    said = capsys.readouterr().out
    assert "Epoch 10/10" in said
    test_loss, test_acc = queue.evaluate(model, test_images, test_labels, verbose=2)
    assert f"loss: {test_loss:.4f}" in capsys.readouterr().out
    assert test_acc > 0.8
    assert [test_loss, test_acc] == model.evaluate(test_images, test_labels, verbose=0)

    probability_model = tf.keras.Sequential([model, keras.layers.Softmax()])
    predictions = queue.predict(probability_model, test_images, verbose=0)
    assert len(predictions) == len(test_images)
    np.testing.assert_array_equal(predictions, probability_model.predict(test_images, verbose=0))
    assert (predictions.argmax(axis=1) == test_labels).mean() == pytest.approx(test_acc)

    img = tf.expand_dims(tf.constant(test_images[1]), 0)
    predictions_single = queue.predict(probability_model, img)
    assert int(tf.argmax(predictions_single[0])) == int(predictions[1].argmax())
    assert "1/1" in capsys.readouterr().out


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("FITQ_DATASETS"), reason="FITQ_DATASETS names no folder with Fashion-MNIST")
def test_fashion_mnist_reaches_its_accuracy_through_a_local_model(queue):
    (train_images, train_labels), (test_images, test_labels) = images()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Flatten(input_shape=(28, 28)), layers.Dense(128, activation="relu"), layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

    history = queue.fit(model, train_images / 255.0, train_labels, epochs=10, seed=0, verbose=0)

    assert history.job.state == "succeeded"
    assert len(history.history["accuracy"]) == 10
    _, accuracy = queue.evaluate(model, test_images / 255.0, test_labels, verbose=0)
    assert accuracy >= 0.87
    predictions = queue.predict(model, test_images / 255.0, verbose=0)
    np.testing.assert_array_equal(predictions, model.predict(test_images / 255.0, verbose=0))
    assert (predictions.argmax(axis=1) == test_labels).mean() == pytest.approx(accuracy)
