"""Keras's notes, snippet by snippet, as JSON over HTTP: what each prints there, a job gives here."""

import io
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from urllib.request import Request, urlopen

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorflow.python.framework import config as tensorflow_config

from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import ROOT

pytestmark = [
    on_sqlite,
    pytest.mark.filterwarnings("ignore:::(keras|tf_keras|tensorflow|tensorboard|google|numpy|ml_dtypes)"),
    pytest.mark.filterwarnings("ignore:You are saving"),
]

#: `model = Sequential(); model.add(Dense(32, relu)) …`
STACK = {
    "layers": [
        {"Dense": {"units": 32, "activation": "relu"}},
        {"Dense": {"units": 32, "activation": "relu"}},
        {"Dense": {"units": 10, "activation": "softmax"}},
    ],
    "input_shape": [72],
}
#: `model.compile(optimizer=Adam(0.001), loss=categorical_crossentropy, metrics=[categorical_accuracy])`
COMPILE = {
    "optimizer": {"Adam": {"learning_rate": 0.001}},
    "loss": "categorical_crossentropy",
    "metrics": ["categorical_accuracy"],
}
#: `Flatten(input_shape=(28, 28)), Dense(128, relu), Dense(10)`
CLOTHES = {"layers": ["Flatten", {"Dense": {"units": 128, "activation": "relu"}}, {"Dense": {"units": 10}}]}


class Api:
    """The API as any program sees it: requests and JSON."""

    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with urlopen(Request(self.url + path, body, headers, method=method), timeout=120) as answer:
            return answer.read()

    def send(self, content):
        """Send a file; return how a spec names it."""
        return json.loads(self.ask("POST", "/v1/uploads", content, Content_Type="application/octet-stream"))["ref"]

    def upload(self, array):
        """Send an array as an `.npy` file; return how a spec names it."""
        file = io.BytesIO()
        np.save(file, array)
        return self.send(file.getvalue())

    def source(self, x, y=None):
        return {"npy": self.upload(x)} | ({} if y is None else {"labels": self.upload(y)})

    def run(self, **spec):
        """Submit a job and wait for its end, in one request where a minute is enough; return it."""
        spec.setdefault("resources", {"memory_mb": 1500})
        headers = {"Content_Type": "application/json", "Prefer": "wait=60"}
        headers["Idempotency_Key"] = str(uuid.uuid4())
        for _ in range(5):
            job = json.loads(self.ask("POST", "/v1/jobs", json.dumps(spec).encode(), **headers))
            if job["state"] not in {"queued", "running"}:
                break
        assert job["state"] == "succeeded", job["error"]
        return job

    def train(self, **spec):
        return self.run(kind="train", compile=COMPILE, seed=1, **spec)

    def predict(self, job, **spec):
        return self.run(kind="predict", model={"job": job["id"]}, **spec)["result"]["value"]

    def get(self, job, path):
        return self.ask("GET", f"/v1/jobs/{job['id']}/{path}")

    def model(self, job, form):
        """Download a job's model in a format."""
        request = Request(f"{self.url}/v1/jobs/{job['id']}/model?as={form}")
        for _ in range(5):
            with urlopen(request, timeout=120) as answer:
                if answer.status == 200:
                    return answer.read()
        raise TimeoutError(form)

    def history(self, job):
        return json.loads(self.get(job, "history"))


@pytest.fixture
def api(stack):
    return Api(stack.state["url"])


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_job():
    """Compute here as a job does: what is trained here is compared with a job's."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    yield
    tensorflow_config.disable_op_determinism()


@pytest.fixture(scope="session")
def arrays():
    """`np.random.random((1000, 72))` and its like."""
    random = np.random.default_rng(0)
    sizes = {"train": 1000, "val": 200, "test": 1000}
    return {name: (random.random((rows, 72)), random.random((rows, 10))) for name, rows in sizes.items()}


@pytest.fixture(scope="session")
def fitted(stack, arrays):
    """`model.fit(train_x, train_y, epochs=10, batch_size=100, validation_data=(val_x, val_y))`."""
    api = Api(stack.state["url"])
    data = {"train": api.source(*arrays["train"]), "validation": api.source(*arrays["val"])}
    return api.train(name="notes", model=STACK, data=data, fit={"epochs": 10, "batch_size": 100})


def test_fit_with_arrays(api, fitted):
    history = api.history(fitted)

    assert sorted(history) == ["categorical_accuracy", "loss", "val_categorical_accuracy", "val_loss"]
    assert {len(values) for values in history.values()} == {10}
    assert all(np.isfinite(values).all() for values in history.values())
    assert fitted["result"]["value"]["steps"] == 100


def local(keras, api, job):
    """Return the job's model in a Keras here."""
    told = job["spec"]["model"]
    model = keras.Sequential([keras.Input(told["input_shape"]), *local_layers(keras, told["layers"])])
    with np.load(io.BytesIO(api.get(job, "checkpoints/final/content"))) as saved:
        model.set_weights([saved[f"weights.{index}"] for index in range(len(model.weights))])
    return model


def compiled(keras, model):
    """Return a model, compiled as the notes do."""
    model.compile(keras.optimizers.Adam(0.001), "categorical_crossentropy", metrics=["categorical_accuracy"])
    return model


def test_evaluate_and_predict_agree_with_the_model_run_here(api, arrays, fitted):
    x, y = arrays["test"]
    model = compiled(keras, local(keras, api, fitted))

    # In the notes: `model.evaluate(test_x, test_y, batch_size=32)`
    data = {"test": api.source(x, y)}
    measured = api.run(kind="evaluate", model={"job": fitted["id"]}, data=data, batch_size=32)["result"]["value"]
    here = model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)
    assert measured["metrics"] == pytest.approx(here, rel=1e-5)

    # In the notes: `test_data.batch(32).repeat(); model.evaluate(test_data, steps=30)`
    data = {"test": api.source(x, y), "repeat": True}
    for steps in (30, 40):
        spec = {"kind": "evaluate", "model": {"job": fitted["id"]}, "data": data, "batch_size": 32, "steps": steps}
        measured = api.run(**spec)["result"]["value"]
        here = model.evaluate(repeated(x, y), steps=steps, verbose=0, return_dict=True)
        assert measured["metrics"] == pytest.approx(here, rel=1e-5)

    # In the notes: `model.predict(test_x, batch_size=32)`
    predicted = api.predict(fitted, data={"input": api.source(x)}, batch_size=32)
    here = model.predict(x, batch_size=32, verbose=0)
    assert (predicted["rows"], predicted["shape"]) == (1000, [1000, 10])
    np.testing.assert_allclose(np.array(predicted["predictions"]), here, rtol=1e-4, atol=1e-6)
    assert predicted["classes"] == here.argmax(axis=1).tolist()


def local_layers(keras, layers=STACK["layers"]):
    named = [one if isinstance(one, dict) else {one: {}} for one in layers]
    return [getattr(keras.layers, name)(**arguments) for one in named for name, arguments in one.items()]


def repeated(x, y):
    """`tf.data.Dataset.from_tensor_slices((x, y)).batch(32).repeat()`."""
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(32).repeat()


def test_fit_on_a_data_set_of_given_batches_is_that_of_the_model_run_here(api, arrays, fitted):
    """The batches of `dataset.batch(32).repeat()`, said one by one: 31 of 32 rows and one of 8, then again."""
    train = api.source(*arrays["train"]) | {"batches": [[32, 31], [8, 1]]}
    validation = api.source(*arrays["val"]) | {"batches": [[32, 6], [8, 1]]}
    fit = {"epochs": 10, "steps_per_epoch": 30, "validation_steps": 3}
    job = api.train(model={"job": fitted["id"]}, data={"train": train, "validation": validation}, fit=fit)

    model = compiled(keras, local(keras, api, fitted))
    here = model.fit(
        repeated(*arrays["train"]),
        epochs=10,
        steps_per_epoch=30,
        validation_data=repeated(*arrays["val"]),
        validation_steps=3,
        verbose=0,
    )
    for name, values in api.history(job).items():
        assert values == pytest.approx(here.history[name], rel=1e-3), name


def test_fit_on_a_repeated_data_set(api, arrays):
    # In the notes: `dataset.batch(32).repeat(); model.fit(dataset, epochs=10, steps_per_epoch=30, validation_steps=3)`
    data = {"train": api.source(*arrays["train"]), "validation": api.source(*arrays["val"]), "shuffle": False}
    fit = {"epochs": 10, "batch_size": 32, "steps_per_epoch": 30, "validation_steps": 3}
    job = api.train(model=STACK, data=data, fit=fit)

    assert job["result"]["value"]["steps"] == 300
    assert len(api.history(job)["val_loss"]) == 10


def test_fit_with_callbacks(api, arrays):
    # In the notes: `callbacks = [EarlyStopping(patience=2, monitor='val_loss'), TensorBoard(log_dir='./logs')]`
    callbacks = [{"EarlyStopping": {"patience": 2, "monitor": "val_loss"}}, {"TensorBoard": {"log_dir": "logs"}}]
    data = {"train": api.source(*arrays["train"]), "validation": api.source(*arrays["val"])}
    job = api.train(model=STACK, data=data, fit={"epochs": 5, "batch_size": 16}, callbacks=callbacks)

    history = api.history(job)
    assert 3 <= len(history["loss"]) <= 5
    logged = json.loads(api.get(job, "artifacts"))["data"]
    for part, metric in (("train", "loss"), ("validation", "val_loss")):
        (name,) = [one["name"] for one in logged if one["name"].startswith(f"logs/{part}/")]
        assert events(api.get(job, f"artifacts/{name}/content"), "epoch_loss") == pytest.approx(history[metric])


def test_the_other_callbacks_that_the_notes_name(api, arrays):
    # In the notes: ModelCheckpoint "saves the model regularly", LearningRateScheduler "changes the learning rate"
    rates = [0.001, 0.0005]
    callbacks = [{"LearningRateScheduler": {"rates": rates}}, {"ModelCheckpoint": {"filepath": "saved/{epoch}.keras"}}]
    job = api.train(model=STACK, data={"train": api.source(*arrays["train"])}, fit={"epochs": 2}, callbacks=callbacks)

    assert api.history(job)["learning_rate"] == pytest.approx(rates)
    x = api.source(arrays["test"][0])
    saved = api.send(api.get(job, "artifacts/saved/2.keras/content"))
    again = api.run(kind="predict", model={"upload": saved}, data={"input": x})["result"]["value"]
    assert again["predictions"] == api.predict(job, data={"input": x})["predictions"]


def events(content, tag):
    """Return a scalar's values from TensorBoard's own reader."""
    with tempfile.NamedTemporaryFile(prefix="events.out.tfevents.") as file:
        file.write(content)
        file.flush()
        found = list(EventFileLoader(file.name).Load())
    values = [value for one in found for value in one.summary.value if value.tag == tag]
    return [
        value.tensor.float_val[0] if value.tensor.float_val else float(from_bytes(value.tensor)) for value in values
    ]


def from_bytes(tensor):
    return np.frombuffer(tensor.tensor_content, np.float32)[0]


@pytest.mark.parametrize("name", ["notes.json", "notes.yaml"])
def test_what_the_notes_print_is_an_architecture_as_it_stands(api, name):
    random = np.random.default_rng(1)
    data = {"train": api.source(random.random((100, 32)), random.random((100, 10)))}
    text = (ROOT / "examples" / "models" / name).read_text()
    job = api.train(model={"architecture": text}, data=data, fit={"epochs": 2})

    assert len(api.history(job)["loss"]) == 2
    assert job["result"]["value"]["parameters"] == 32 * 64 + 64 + 64 * 10 + 10


# --- saving and loading ---


@pytest.mark.parametrize("form", ["tf", "h5-weights", "weights.h5"])
def test_weights_are_saved_and_loaded(api, arrays, fitted, form):
    # In the notes: `model.save_weights('./weights/model'); model.load_weights('./weights/model')`, and to `./model.h5`
    x = api.source(arrays["test"][0])
    weights = api.send(api.model(fitted, form))
    again = api.run(kind="predict", model=STACK | {"weights": weights}, data={"input": x})["result"]["value"]

    assert again["predictions"] == api.predict(fitted, data={"input": x})["predictions"]


@pytest.mark.parametrize("form", ["tf", "h5"])
def test_weights_that_keras_2_saved_are_trained_on_with_its_optimizer(api, arrays, form, tmp_path):
    """As the notes save them, by the Keras that they were written for."""
    x, y = arrays["train"]
    model = tf_keras.Sequential([tf_keras.Input((72,)), *local_layers(tf_keras)])
    model.compile(tf_keras.optimizers.Adam(0.001), "categorical_crossentropy", metrics=["categorical_accuracy"])
    model.fit(x, y, batch_size=100, verbose=0)
    (tmp_path / "weights").mkdir()
    if form == "tf":
        model.save_weights(tmp_path / "weights" / "model")
        saved = shutil.make_archive(tmp_path / "weights", "zip", tmp_path / "weights")
        given = {"model": STACK | {"weights": api.send(Path(saved).read_bytes())}, "compile": COMPILE}
    else:
        model.save(tmp_path / "all_model.h5")
        given = {"model": {"upload": api.send((tmp_path / "all_model.h5").read_bytes())}, "compile": {}}
    given["compile"] = given["compile"] | {"continue_optimizer": True}
    data = {"train": api.source(x, y), "shuffle": False}
    job = api.run(kind="train", data=data, fit={"epochs": 2, "batch_size": 100}, **given)

    here = model.fit(x, y, batch_size=100, epochs=2, shuffle=False, verbose=0)
    for name, values in api.history(job).items():
        assert values == pytest.approx(here.history[name], rel=1e-3), name


def test_a_whole_model_is_saved_and_trained_on(api, arrays, fitted):
    # In the notes: `model.save('all_model.h5'); model = tf.keras.models.load_model('all_model.h5')`
    whole = {"upload": api.send(api.model(fitted, "h5"))}
    data = {"test": api.source(*arrays["test"])}
    measured = [
        api.run(kind="evaluate", model=model, data=data)["result"]["value"] for model in (whole, {"job": fitted["id"]})
    ]
    assert measured[0] == measured[1]

    spec = {
        "kind": "train",
        "data": {"train": api.source(*arrays["train"])},
        "compile": {"continue_optimizer": True},
        "fit": {"epochs": 2, "batch_size": 100},
        "seed": 1,
    }
    further = [api.run(model=model, **spec) for model in (whole, {"job": fitted["id"]})]
    assert api.history(further[0]) == api.history(further[1])
    assert len({job["result"]["weights_sha256"] for job in further}) == 1


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_an_architecture_is_saved_and_trained_anew(api, arrays, fitted, form):
    # In the notes: `model_from_json(model.to_json())`, `model_from_yaml(model.to_yaml())`
    text = api.model(fitted, form).decode()
    data = {"train": api.source(*arrays["train"]), "validation": api.source(*arrays["val"])}
    job = api.train(model={"architecture": text}, data=data, fit={"epochs": 10, "batch_size": 100})

    assert job["result"]["value"]["parameters"] == fitted["result"]["value"]["parameters"]
    # The same seed draws the same weights: what was trained anew is what was trained.
    assert api.history(job) == api.history(fitted)


# --- clothes ---


@pytest.fixture(scope="session")
def clothes(stack):
    """`model.fit(train_images, train_labels, epochs=10)` on Fashion-MNIST, or on the digits where it is not at hand."""
    fashion = bool(os.environ.get("FITQ_DATASETS"))
    name, side, scale = ("fashion_mnist", 28, 1 / 255) if fashion else ("digits", 8, 1 / 16)
    job = Api(stack.state["url"]).run(
        kind="train",
        model=CLOTHES | {"input_shape": [side, side]},
        data={"train": {"dataset": name, "split": "train"}, "scale": scale},
        compile={
            "optimizer": "adam",
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        fit={"epochs": 10},
        seed=0,
    )
    return job, name


@pytest.mark.timeout(600)
def test_images_are_recognized_and_one_is_predicted_alone(api, clothes):
    job, name = clothes
    images = {"dataset": name, "split": "test"}

    # In the notes: `print(train_images.shape); print(len(train_labels)); print(test_images.shape)`
    counts, side, first_two = ((60_000, 10_000), 28, [9, 2]) if name == "fashion_mnist" else ((1_437, 360), 8, None)
    assert [samples(api, job, name, split) for split in ("train", "test")] == [
        (one, [None, side, side]) for one in counts
    ]

    # In the notes: `test_loss, test_acc = model.evaluate(test_images, test_labels)`
    measured = api.run(kind="evaluate", model={"job": job["id"]}, data={"test": images})["result"]["value"]
    assert measured["metrics"]["accuracy"] >= 0.87

    # In the notes: `Sequential([model, Softmax()]).predict(test_images)`
    every = api.predict(job, data={"input": images}, head="softmax")
    assert every["rows"] == measured["rows"]
    assert len(every["classes"]) == every["rows"] == counts[1]
    assert first_two in (None, every["classes"][:2]), "what the notes print: 9 and 2"

    # In the notes: `predictions_single = probability_model.predict(tf.expand_dims(img, 0))`
    x = pixels(api, job, images)
    lane = {"lane": "interactive", "memory_mb": 1500}
    single = api.predict(job, data={"input": {"sample": x}}, head="softmax", top_k=1, resources=lane)
    assert single["rows"] == 1
    assert single["top"][0][0]["class"] == single["classes"][0] == every["classes"][1]
    assert sum(single["predictions"][0]) == pytest.approx(1, abs=1e-5)
    here = keras.Sequential([local(keras, api, job), keras.layers.Softmax()])
    scaled = np.array([x], "float32") * job["spec"]["data"]["scale"]
    np.testing.assert_allclose(single["predictions"], here.predict(scaled, verbose=0), rtol=1e-4, atol=1e-6)


def samples(api, job, name, split):
    """Return how many samples a data set has, and the shape that the model takes."""
    spec = {"kind": "evaluate", "model": {"job": job["id"]}, "data": {"test": {"dataset": name, "split": split}}}
    said = json.loads(api.ask("POST", "/v1/jobs:check", json.dumps(spec).encode(), Content_Type="application/json"))
    return said["samples"], said["input_shape"]


def pixels(api, job, images):
    """Return the second test image as numbers, as a program that holds it would send it: a Flatten gives it back."""
    side = job["spec"]["model"]["input_shape"]
    model = {"layers": [{"Reshape": {"target_shape": [side[0] * side[1]]}}], "input_shape": side}
    said = api.run(kind="predict", model=model, data={"input": images | {"rows": [1, 2]}})["result"]["value"]
    return np.array(said["predictions"][0]).reshape(side).tolist()
