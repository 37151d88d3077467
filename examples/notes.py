# %% [markdown]
# # Keras through a queue
#
# A walk through Keras in which training, evaluation and prediction happen on fitq's workers: what one writes as
# `model.fit(…)` becomes `queue.fit(model, …)`. Start a stack first (`make up`). `FITQ_URL` says where it listens, if
# not at `http://127.0.0.1:8080`. Files go to a folder of their own, whose name is printed.

# %%
import gzip
import json
import os
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import fitq

queue = fitq.connect()
folder = Path(tempfile.mkdtemp(prefix="fitq-notes-"))
random = np.random.default_rng(0)
print(f"{len(queue.workers())} worker(s) at hand; files go to {folder}")

# %% [markdown]
# ## 1. A model
#
# A model is a stack of layers. It lives here; a worker makes its twin when there is something to do.

# %%
model = keras.Sequential()
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))

# %% [markdown]
# The functional way joins layers as one likes, here two inputs. Such a model travels as well.

# %%
left, right = keras.Input((36,), name="left"), keras.Input((36,), name="right")
joined = layers.Concatenate()([layers.Dense(16, activation="relu")(left), layers.Dense(16, activation="relu")(right)])
functional = keras.Model({"left": left, "right": right}, layers.Dense(10, activation="softmax")(joined))

# %% [markdown]
# ## 2. Training
#
# Optimizer, loss and metrics are Keras's own: by name, as functions or as objects.

# %%
for one in (model, functional):
    one.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.categorical_crossentropy,
        metrics=[keras.metrics.categorical_accuracy],
    )

# %% [markdown]
# ### NumPy arrays
#
# The arrays are sent once, each under the name of its content. The model here has its trained weights afterwards, and
# its optimizer is where it would be after a local `fit`.

# %%
train_x, train_y = random.random((1000, 72)), random.random((1000, 10))
val_x, val_y = random.random((200, 72)), random.random((200, 10))

history = queue.fit(model, train_x, train_y, epochs=3, batch_size=100, validation_data=(val_x, val_y))
print(history.history["val_loss"], "by", history.job.id)

halves = {"left": train_x[:, :36], "right": train_x[:, 36:]}
queue.fit(functional, halves, train_y, batch_size=100, verbose=2)

# %% [markdown]
# ### `tf.data`
#
# A repeated data set has no end; `steps_per_epoch` says how much of it is an epoch. Of such a set one period is sent.

# %%
dataset = tf.data.Dataset.from_tensor_slices((train_x, train_y)).batch(32).repeat()
val_dataset = tf.data.Dataset.from_tensor_slices((val_x, val_y)).batch(32).repeat()

queue.fit(model, dataset, epochs=3, steps_per_epoch=30, validation_data=val_dataset, validation_steps=3)
print(int(model.optimizer.iterations), "steps so far: 3 · 10 and 3 · 30")

# %% [markdown]
# ## 3. Evaluation
#
# On arrays, and on so many batches of a data set. The numbers are those that Keras here would find.

# %%
test_x, test_y = random.random((1000, 72)), random.random((1000, 10))
test_data = tf.data.Dataset.from_tensor_slices((test_x, test_y)).batch(32).repeat()

print(queue.evaluate(model, test_x, test_y, batch_size=32))
print(queue.evaluate(model, test_data, steps=30, return_dict=True))

# %% [markdown]
# ## 4. Prediction

# %%
result = queue.predict(model, test_x, batch_size=32)
print(result.shape, result[0].round(3))
np.testing.assert_allclose(result, model.predict(test_x, verbose=0), rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## 5. Callbacks
#
# Keras's callbacks work on the worker; the files that they write come to the paths given here.

# %%
callbacks = [
    keras.callbacks.EarlyStopping(patience=2, monitor="val_loss"),
    keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
    keras.callbacks.TensorBoard(log_dir=folder / "logs"),
    keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
]
queue.fit(
    model, train_x, train_y, batch_size=16, epochs=3, callbacks=callbacks, validation_data=(val_x, val_y), verbose=2
)
print(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))

# %% [markdown]
# ## 6. Without waiting
#
# `queue.submit` takes the same calls and returns the job. It goes on when this program ends, and may be looked for
# from anywhere: `queue.job(id)`, or `fitq watch ID`.

# %%
job = queue.submit.fit(model, train_x, train_y, epochs=2, batch_size=100, name="notes", tags={"walk": "notes"})
job = queue.job(job.id).watch().raise_for_state()
job.load_into(model)
print(job.history())

# %% [markdown]
# ## 7. Saving weights
#
# A job's model comes out in the format that one asks for. TensorFlow's is a checkpoint of three files, which Keras 2
# loads with `load_weights("weights/model")`; `h5-weights` is the `.h5` that Keras 2 wrote, and Keras 3 reads it too.

# %%
with zipfile.ZipFile(job.pull("tf", to=folder / "weights.zip")) as archive:
    archive.extractall(folder / "weights")
print(sorted(tf.train.load_checkpoint(str(folder / "weights")).get_variable_to_shape_map())[:3])

job.pull("h5-weights", to=folder / "model.h5")
model.load_weights(folder / "model.h5")

# %% [markdown]
# A job begins with such a file, whichever it is. This job is no call of Keras's: it is described by a
# [job spec](../docs/job-spec.md), a dictionary.

# %%
spec = {
    "kind": "predict",
    "model": {"architecture": model.to_json(), "weights": queue.upload(folder / "weights.zip")},
    "data": {"input": {"sample": test_x[0].tolist()}},
}
answer = queue.submit(spec, wait_s=30).wait().raise_for_state().result()["value"]
np.testing.assert_allclose(answer["predictions"], model.predict(test_x[:1], verbose=0), rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## 8. Saving the architecture
#
# As JSON, and back.

# %%
json_str = model.to_json()
print(json_str[:80], "…")
fresh_model = keras.models.model_from_json(json_str)

# %% [markdown]
# Keras 3 has given YAML up, in both directions. fitq writes it, and `convert` reads it, as it reads what any older
# Keras wrote, and says what it had to change.

# %%
yaml_str = job.pull("yaml", to=folder / "model.yaml").read_text()
print(yaml_str[:80], "…")
fresh_model = keras.models.model_from_json(json.dumps(queue.convert(yaml_str)["architecture"]))

# %% [markdown]
# [models/notes.json](models/notes.json) and [models/notes.yaml](models/notes.yaml) are what Keras 2.2.4 printed of one
# model. They become the same model of today.

# %%
models = (Path(__file__).parent if "__file__" in globals() else Path.cwd()) / "models"
for name in ("notes.json", "notes.yaml"):
    converted = queue.convert((models / name).read_text())
    old_model = keras.models.model_from_json(json.dumps(converted["architecture"]))
    predicted = queue.predict(old_model, random.random((2, 32)), verbose=0)
    print(name, "becomes", [layer.name for layer in old_model.layers], "and predicts", predicted.shape)
    for change in converted["changes"]:
        print("  changed:", change)

# %% [markdown]
# ## 9. Saving the whole model
#
# Architecture, weights, and how it was compiled, out of a job, and into one.

# %%
loaded = keras.models.load_model(job.pull("h5", to=folder / "all_model.h5"))
np.testing.assert_allclose(loaded.predict(test_x, verbose=0), model.predict(test_x, verbose=0), rtol=1e-4, atol=1e-6)

loaded.save(folder / "all_model.keras")
spec = {
    "kind": "train",
    "model": {"upload": queue.upload(folder / "all_model.keras")},
    "data": {"train": {"x": train_x[:100].tolist(), "y": train_y[:100].tolist()}},
    "fit": {"epochs": 1},
}
print(queue.submit(spec).wait().raise_for_state().history())

# %% [markdown]
# ## 10. Images
#
# Fashion-MNIST, where `FITQ_DATASETS` or Keras's cache has it (`keras.datasets.fashion_mnist.load_data()` fetches it
# once); else scikit-learn's small pictures of digits. Ten epochs bring the clothes to about 0.88; here are fewer.

# %%
home = Path(os.environ.get("FITQ_DATASETS") or Path.home() / ".keras" / "datasets") / "fashion-mnist"


def idx(name: str, header: int, *shape: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((home / name).read_bytes()), np.uint8, offset=header).reshape(-1, *shape)


if home.is_dir():
    train_images, train_labels = idx("train-images-idx3-ubyte.gz", 16, 28, 28), idx("train-labels-idx1-ubyte.gz", 8)
    test_images, test_labels = idx("t10k-images-idx3-ubyte.gz", 16, 28, 28), idx("t10k-labels-idx1-ubyte.gz", 8)
    brightest, epochs = 255.0, 3
    names = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
else:
    from sklearn.datasets import load_digits

    digits = load_digits()
    train_images, train_labels = digits.images[:1437], digits.target[:1437]
    test_images, test_labels = digits.images[1437:], digits.target[1437:]
    brightest, epochs = 16.0, 10
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

train_images, test_images = train_images / brightest, test_images / brightest
print(train_images.shape, test_images.shape)

# %%
classifier = keras.Sequential(
    [
        keras.Input(train_images.shape[1:]),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ]
)
classifier.compile(
    optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
)
history = queue.fit(classifier, train_images, train_labels, epochs=epochs, verbose=2)
test_loss, test_acc = queue.evaluate(classifier, test_images, test_labels, verbose=2)
print(f"Test accuracy: {test_acc:.3f}")

# %% [markdown]
# The model gives logits. A Softmax behind it makes probabilities of them; a single image needs its batch axis, as ever.

# %%
probability_model = keras.Sequential([classifier, layers.Softmax()])
predictions = queue.predict(probability_model, test_images, verbose=0)
print(len(predictions), names[predictions[0].argmax()])

image = np.expand_dims(test_images[1], 0)
print(names[queue.predict(probability_model, image, verbose=0)[0].argmax()], "is", names[test_labels[1]])

# %% [markdown]
# As a spec the same takes no second model: `head` appends the Softmax, the classes have names, and one sample needs no
# batch axis.

# %%
spec = {
    "kind": "predict",
    "model": {"job": history.job.id},
    "data": {"input": {"sample": test_images[1].tolist()}},
    "head": "softmax",
    "top_k": 3,
    "class_names": names,
    "resources": {"lane": "interactive"},
}
answer = queue.submit(spec, wait_s=30).wait().raise_for_state().result()["value"]
for guess in answer["top"][0]:
    print(f"{guess['name']:10} {guess['probability']:.3f}")

queue.close()
