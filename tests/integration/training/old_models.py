"""Models that Keras 2 (tf_keras) and Keras 3 both build, to write files with the one and read them with the other."""

import numpy as np


def graph(k):
    """Recurrent, convolutional and nested layers, two inputs."""
    layers = k.layers
    image, steps = k.Input((8, 8, 1)), k.Input((5, 3))
    x = layers.SeparableConv2D(4, 3)(image)
    x = layers.Conv2D(3, 2)(layers.DepthwiseConv2D(2)(x))
    x = layers.Flatten()(layers.BatchNormalization()(x))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(steps)
    y = layers.TimeDistributed(layers.Dense(4))(y)
    y = layers.MultiHeadAttention(2, 3)(y, y)
    y = layers.GRU(3)(layers.GRU(3, return_sequences=True, reset_after=False)(y))
    inner = k.Sequential([k.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)])
    return k.Model([image, steps], layers.Dense(2)(layers.Concatenate()([x, inner(y)])))


def rare(k):
    """Layers whose attributes have other names in Keras 3, or stand under several; one that is used twice."""
    layers = k.layers
    steps = k.Input((8, 3))
    x = layers.Normalization()(layers.DepthwiseConv1D(2)(steps))
    x = layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], return_sequences=True)(x)
    x = layers.PReLU()(layers.LayerNormalization()(layers.Dropout(0.2)(x)))
    twice = layers.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d")
    y = layers.SimpleRNN(3)(twice(twice(x)))
    inner = k.Sequential([k.Input((3,)), k.Sequential([k.Input((3,)), layers.Dense(4)]), layers.Dense(2)])
    return k.Model(steps, inner(y))


def scrambled(model, seed=3):
    """Give every weight a value of its own."""
    numbers = np.random.default_rng(seed)
    model.set_weights([numbers.uniform(0.1, 1.0, one.shape).astype(one.dtype) for one in model.get_weights()])
    return model


def inputs(model, rows=3):
    """Return random rows for each of a model's inputs."""
    numbers = np.random.default_rng(0)
    return [numbers.random((rows, *one.shape[1:]), dtype="float32") for one in model.inputs]


def random(*shapes):
    """Return random arrays of these shapes."""
    numbers = np.random.default_rng(1)
    return [numbers.random(shape, dtype="float32") for shape in shapes]


def dense(k, optimizer):
    """Two layers, compiled."""
    model = k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.Dense(2)])
    model.compile(optimizer, "mse")
    return scrambled(model)
