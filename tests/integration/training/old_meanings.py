"""What layers of Keras 0 and 1 computed, in NumPy, after their documentation; images and volumes with tf_keras.

Weights are in Keras 3's layout: `w` gives those of each layer of the converted model by the layer's name.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

Array = np.ndarray
Meaning = Callable[[list[Array], dict[str, list[Array]]], list[Array]]
layers = tf_keras.layers


def dense(x: Array, w: list[Array]) -> Array:
    return x @ w[0] + (w[1] if len(w) > 1 else 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    return np.clip(0.2 * x + 0.5, 0, 1)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def highway(x: Array, w: list[Array], act: Callable[[Array], Array]) -> Array:
    gate = sigmoid(dense(x, w[2:]))
    return act(dense(x, w[:2])) * gate + (1 - gate) * x


def maxout(x: Array, w: list[Array], features: int) -> Array:
    return dense(x, w).reshape(len(x), features, -1).max(1)


def steps(x: Array, state: Any, step: Callable[[Array, Any], Any]) -> list[Any]:
    found = []
    for t in range(x.shape[1]):
        state = step(x[:, t], state)
        found.append(state)
    return found


def simple_rnn(x: Array, w: list[Array]) -> Array:
    zero = np.zeros((len(x), w[1].shape[0]))
    return np.stack(steps(x, zero, lambda one, h: np.tanh(dense(one, [w[0], w[2]]) + h @ w[1])), 1)


def lstm(x: Array, w: list[Array], inner: Callable[[Array], Array], act: Callable[[Array], Array]) -> Array:
    def step(one: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        i, f, c, o = np.split(dense(one, [w[0], w[2]]) + state[0] @ w[1], 4, -1)
        cell = inner(f) * state[1] + inner(i) * act(c)
        return inner(o) * act(cell), cell

    zero = np.zeros((len(x), w[1].shape[0]))
    return np.stack([h for h, _ in steps(x, (zero, zero), step)], 1)


def gru(x: Array, w: list[Array]) -> Array:
    size = w[1].shape[0]

    def step(one: Array, h: Array) -> Array:
        z, r, new = np.split(dense(one, [w[0], w[2]]), 3, -1)
        z, r = hard_sigmoid(z + h @ w[1][:, :size]), hard_sigmoid(r + h @ w[1][:, size : 2 * size])
        return z * h + (1 - z) * np.tanh(new + (r * h) @ w[1][:, 2 * size :])

    return np.stack(steps(x, np.zeros((len(x), size)), step), 1)


def modern(x: Array, w: dict[str, list[Array]], *made: Any) -> Array:
    """Return what layers of Keras 2, named as those of the converted model, make of images with channels last."""
    model = tf_keras.Sequential([tf_keras.Input(x.shape[1:]), *made])
    for layer in made:
        layer.set_weights(w.get(layer.name, []))
    return np.asarray(model(x, training=False))


def both_ways(x: Array, w: list[Array]) -> tuple[Array, Array]:
    return simple_rnn(x, w[:3]), simple_rnn(x[:, ::-1], w[3:])


def last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1)


def first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


def words(x: Array, w: list[Array]) -> Array:
    return w[0][x.astype(int)]


def masked(x: Array, w: dict[str, list[Array]]) -> Array:
    """Skip the steps of zeros: the state stays."""
    cell = w["reader"]
    found = []
    for row in x.astype(int):
        said = row[row != 0]
        found.append(simple_rnn(words(said[None], w["words"]), cell)[0, -1])
    return np.stack(found)


def merge_modes(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    a, b = dense(x[0], w["x"]), dense(x[1], w["y"])
    dot = (a * b).sum(-1, keepdims=True)
    cosine = dot / np.sqrt((a * a).sum(-1, keepdims=True) * (b * b).sum(-1, keepdims=True))
    return [a + b, a * b, (a + b) / 2, np.maximum(a, b), np.concatenate([a, b], -1), dot, cosine[:, None]]


def activations(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = dense(x[0], w["first"])
    y = np.where(y > 0, y, np.float32(0.2) * y)
    y = np.where(y > 0, y, w["prelu"][0] * y)
    y = np.where(y > 0, y, 0.7 * (np.exp(np.minimum(y, 0)) - 1))
    y = np.where(y > 0.3, y, 0)
    y = np.log1p(np.exp(dense(y, w["soft"])))
    return [hard_sigmoid(dense(y / (1 + np.abs(y)), w["hard"]))]


def deconvolution(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    kernel, bias = w["up"]
    return [np.asarray(tf.nn.conv2d_transpose(x[0], kernel, [len(x[0]), 12, 11, 2], 2, "VALID")) + bias]


def normalized_samples(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y, (gamma, beta) = dense(x[0], w["first"]), w["each_sample"]
    y = (y - y.mean(-1, keepdims=True)) / (np.sqrt(y.var(-1, keepdims=True) + 1e-4) + 1e-4)
    return [dense(y * gamma + beta, w["out"])]


def conv_th(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = modern(
        last(x[0]),
        w,
        layers.Conv2D(3, (3, 2), padding="same", strides=(2, 1), activation="relu", name="conv"),
        layers.ZeroPadding2D((1, 2)),
        layers.MaxPooling2D(2),
        layers.UpSampling2D((2, 1)),
    )
    return [dense(first(y).reshape(len(y), -1), w["out"])]


def conv_tf(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = modern(
        x[0],
        w,
        layers.Conv2D(3, (2, 3), name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.Conv2D(2, 2, dilation_rate=2, name="holes"),
        layers.SeparableConv2D(3, 2, depth_multiplier=2, padding="same", name="apart"),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.Cropping2D(((1, 0), (0, 1))),
    )
    return [y.max((1, 2))]


def conv1d(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = hard_sigmoid(modern(x[0], w, layers.Conv1D(3, 3, padding="same", name="conv")))
    y = modern(
        y,
        w,
        layers.Conv1D(3, 2, dilation_rate=2, name="holes"),
        layers.MaxPooling1D(2),
        layers.UpSampling1D(2),
        layers.ZeroPadding1D(1),
        layers.AveragePooling1D(3),
    )
    return [y.mean(1)]


def conv3d(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = modern(x[0], w, layers.Conv3D(2, (2, 3, 2), padding="same", name="conv"), layers.MaxPooling3D(2))
    return [dense(y.reshape(len(y), -1), w["out"])]


def images(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    y = modern(last(x[0]), w, layers.Conv2D(3, 3, activation="relu", name="conv"), layers.MaxPooling2D(2))
    return [softmax(dense(first(y).reshape(len(y), -1), w["out"]))]


def bidirectional(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    forward, backward = both_ways(x[0], w["both"])
    forward, backward = both_ways(np.concatenate([forward, backward[:, ::-1]], -1), w["summed"])
    return [forward[:, -1] + backward[:, -1]]


def graph(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    a, b = dense(x[0], w["d1"]), dense(x[1], w["d2"])
    return [dense(np.concatenate([relu(a + b), a], -1), w["d3"]), a * b]


def lstms(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    return [lstm(lstm(x[0], w["whole"], hard_sigmoid, np.tanh), w["last"], sigmoid, relu)[:, -1]]


def branches(x: list[Array], w: dict[str, list[Array]]) -> list[Array]:
    ends = [name for name in w if name not in {"join", "out"}]
    one, two = (dense(value, w[name]) for value, name in zip(x, ends, strict=True))
    return [softmax(dense(np.concatenate([one, np.tanh(two)], -1), w["out"]))]


#: The meaning of each file of Keras 0 and 1, by the file's name.
MEANINGS: dict[str, Meaning] = {
    "keras0_dense": lambda x, w: [softmax(dense(np.tanh(dense(x[0], w["first"])), w["dense"]))],
    "keras0_graph": graph,
    "keras0_images": images,
    "keras0_shared": lambda x, w: [dense(dense(x[0], w["sh"]) * dense(x[1], w["sh"]), w["o"])],
    "keras0_words": lambda x, w: [dense(gru(words(x[0], w["embedding"]), w["gru"])[:, -1], w["dense"])],
    "keras1_activations": activations,
    "keras1_bidirectional": bidirectional,
    "keras1_conv1d": conv1d,
    "keras1_conv3d": conv3d,
    "keras1_conv_tf": conv_tf,
    "keras1_conv_th": conv_th,
    "keras1_deconvolution": deconvolution,
    "keras1_gru": lambda x, w: [dense(gru(x[0][:, ::-1], w["backwards"])[:, -1], w["out"])],
    "keras1_highway": lambda x, w: [
        dense(highway(highway(x[0], w["first"], relu), w["second"], lambda y: y), w["out"]),
    ],
    "keras1_lstm": lstms,
    "keras1_masked_rnn": lambda x, w: [masked(x[0], w)],
    "keras1_maxout": lambda x, w: [maxout(maxout(x[0], w["wide"], 4), w["plain"], 4)],
    "keras1_merge_modes": merge_modes,
    "keras1_merge_sequential": branches,
    "keras1_nested_shared": lambda x, w: [dense(np.tanh(dense(one, w["inner"])), w["shared"]) for one in x],
    "keras1_normalized_samples": normalized_samples,
    "keras1_time_distributed": lambda x, w: [dense(np.tanh(dense(x[0], w["each"])), w["old"])],
}
