"""TensorFlow's functions in graphs of tf_keras 2: the same numbers in Keras 3, or a refusal, and nothing between."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from shared import architecture
from shared.errors import BadSpec
from worker.training import sizing

pytestmark = [pytest.mark.filterwarnings("ignore:::tf_keras")]

SAME = {
    "pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]]),
    "pad reflect": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]], mode="REFLECT"),
    "pad symmetric": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]], "SYMMETRIC"),
    "gelu": tf.nn.gelu,
    "gelu approximate": lambda x: tf.nn.gelu(x, approximate=True),
    "argmax": lambda x: tf.cast(tf.argmax(x, axis=-1), "float32"),
    "equal": lambda x: tf.cast(tf.equal(x, x[:, ::-1]), "float32"),
    "relu": tf.nn.relu,
    "relu of Keras": lambda x: tf_keras.activations.relu(x, alpha=0.1, max_value=1.5, threshold=0.2),
    "mean": lambda x: tf.reduce_mean(x, [1, 2], True),
    "cumsum": lambda x: tf.cumsum(x, 1),
    "one hot": lambda x: tf.one_hot(tf.cast(x, "int32"), 3),
    "clip": lambda x: tf.clip_by_value(x, -0.5, 0.5),
    "leaky relu": tf.nn.leaky_relu,
    "leaky relu of 0.4": lambda x: tf.nn.leaky_relu(x, 0.4),
    "squeeze": lambda x: tf.squeeze(tf.expand_dims(x, 1), 1),
    "split": lambda x: tf.split(x, 2, axis=-1)[1],
    "resize": lambda x: tf.image.resize(x, (3, 5)),
    "nearest": lambda x: tf.image.resize(x, (8, 12), "nearest"),
    "matmul": lambda x: tf.matmul(x, x, transpose_b=True),
    "space to depth": lambda x: tf.nn.space_to_depth(x, 2),
    "l2 normalize": lambda x: tf.math.l2_normalize(x, axis=-1),
    "pool": lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"),
    "repeat": lambda x: tf.repeat(x, 2, axis=1),
    "swish": tf.nn.swish,
}
REFUSED = {
    "pad with ones": lambda x: tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]], constant_values=1.0),
    "cumsum from the end": lambda x: tf.cumsum(x, 1, reverse=True),
    "cumsum exclusive": lambda x: tf.cumsum(x, 1, exclusive=True),
    "one hot of two": lambda x: tf.one_hot(tf.cast(x, "int32"), 3, on_value=2.0),
    "resize to fit": lambda x: tf.image.resize(x, (3, 5), preserve_aspect_ratio=True),
    "swish of two": lambda x: tf.nn.swish(x, 2.0),
}


def of_tf_keras(function):
    """Return a model of tf_keras that calls a function of TensorFlow, and what becomes of it here."""
    taken = tf_keras.Input((4, 6, 2))
    old = tf_keras.Model(taken, function(taken))
    return old, sizing.instantiate(architecture.checked(old.to_json()))


@pytest.mark.parametrize("name", SAME)
def test_a_function_gives_the_numbers_that_tensorflow_gives(name):
    old, new = of_tf_keras(SAME[name])
    x = np.random.default_rng(1).normal(size=(3, 4, 6, 2)).astype("float32")
    expected = np.asarray(keras.tree.flatten(old(x))[0])
    np.testing.assert_allclose(np.asarray(keras.tree.flatten(new(x))[0]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_that_would_lose_an_argument_is_refused(name):
    with pytest.raises(BadSpec) as refused:
        of_tf_keras(REFUSED[name])
    assert ["calls TensorFlow's function" in field.message for field in refused.value.fields] == [True]
