"""Write the files that some of the examples name, below `examples/data`: scikit-learn's digits in every form.

python examples/make_data.py
"""

import csv
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "data"
#: Digits of the files that hold one row of text, or one file, for each.
FEW = 500
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8)
    labels = labels.astype("int32")
    arrays(images, labels)
    tables(images[:FEW].reshape(FEW, -1), labels[:FEW])
    records(images[:FEW], labels[:FEW])
    pictures(images[:FEW], labels[:FEW])
    noise()
    model(images, labels)
    print(f"Wrote {FOLDER}")


def arrays(images: np.ndarray, labels: np.ndarray) -> None:
    """Write `.npz` and `.npy`; the halves of the images are the inputs of a model with two."""
    np.savez(FOLDER / "digits.npz", images=images, labels=labels)
    np.save(FOLDER / "digits-x.npy", images)
    np.save(FOLDER / "digits-y.npy", labels)
    np.savez(FOLDER / "halves.npz", upper=images[:, :4], lower=images[:, 4:], digit=labels, even=labels % 2 == 0)


def tables(rows: np.ndarray, labels: np.ndarray) -> None:
    """Write CSV, with words for labels, and Parquet, with numbers."""
    names = [f"pixel_{number}" for number in range(rows.shape[1])]
    with (FOLDER / "digits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "digit"])
        writer.writerows([*row, WORDS[label]] for row, label in zip(rows.tolist(), labels, strict=True))
    columns = {name: rows[:, index] for index, name in enumerate(names)} | {"digit": labels}
    pq.write_table(pa.table(columns), FOLDER / "digits.parquet")


def records(images: np.ndarray, labels: np.ndarray) -> None:
    """Write TFRecord: an Example for each image."""
    with tf.io.TFRecordWriter(str(FOLDER / "digits.tfrecord")) as writer:
        for image, label in zip(images, labels, strict=True):
            pixels = tf.train.Feature(float_list=tf.train.FloatList(value=image.reshape(-1)))
            digit = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
            features = tf.train.Features(feature={"image": pixels, "digit": digit})
            writer.write(tf.train.Example(features=features).SerializeToString())


def noise() -> None:
    """Write random numbers for the architecture in `models/`, which takes 32 of them."""
    random = np.random.default_rng(0)
    np.save(FOLDER / "random-x.npy", random.random((1000, 32), "float32"))
    np.save(FOLDER / "random-y.npy", random.random((1000, 10), "float32"))


def model(images: np.ndarray, labels: np.ndarray) -> None:
    """Write a whole model that was trained for an epoch, as Keras saves it."""
    layers = [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)]
    made = keras.Sequential(layers)
    made.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    made.fit(images, labels, verbose=0)
    made.save(FOLDER / "digits.keras")


def pictures(images: np.ndarray, labels: np.ndarray) -> None:
    """Write a folder of PNG files for each class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = FOLDER / "photos" / WORDS[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png((image[..., np.newaxis] * 255).astype("uint8")).numpy())


if __name__ == "__main__":
    main()
