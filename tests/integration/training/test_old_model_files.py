"""Files of Keras 1 and 2, written by tf_keras or as Keras 1 wrote them, read into models of Keras 3."""

import json

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from shared import architecture
from shared.errors import BadData, BadSpec
from tests.integration.training.old_models import dense, graph, inputs, random, scrambled
from worker.training import sizing
from worker.training.modelfiles.files import ModelFile

# Keras says itself that these formats are old.
pytestmark = [pytest.mark.filterwarnings("ignore:You are saving"), pytest.mark.filterwarnings("ignore:::tf_keras")]


def read(volume, name, model, budget=1 << 30):
    ModelFile(volume, name, budget).load_weights(model)
    return model


@pytest.mark.parametrize("name", ["whole.h5", "weights.h5", "keras3.h5"])
def test_weights_of_an_old_file_give_the_same_predictions(volume, name):
    old = scrambled(graph(keras if name == "keras3.h5" else tf_keras))
    path = volume / "data" / name
    if name == "weights.h5":
        old.save_weights(path, save_format="h5")
    else:
        old.save(path)
    new = read(volume, name, graph(keras))
    ModelFile(volume, name, 1 << 30).check_weights(new)
    given = inputs(new)
    np.testing.assert_allclose(new.predict(given, verbose=0), old.predict(given, verbose=0), rtol=2e-5, atol=1e-6)


def keras1(path, name, arrays, **attributes):
    """Write weights as Keras 1 did: one layer, no version."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode()]
        file.attrs.update(attributes)
        group = file.create_group(name)
        group.attrs["weight_names"] = [f"{name}_{index}".encode() for index in range(len(arrays))]
        for index, array in enumerate(arrays):
            group[f"{name}_{index}"] = array


def test_the_gates_and_kernels_of_keras_1_find_their_places(volume):
    path = volume / "data" / "old.h5"
    gates = random(*[(4, 3), (3, 3), (3,)] * 4)
    keras1(path, "lstm_1", gates)
    lstm = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3)])
    kernel = read(volume, "old.h5", lstm).get_weights()[0]
    # In the file: input, cell, forget, output. In Keras 3: input, forget, cell, output.
    np.testing.assert_array_equal(kernel, np.concatenate([gates[0], gates[6], gates[3], gates[9]], axis=1))

    kernel, bias = random((6, 2, 3, 3), (6,))
    keras1(path, "convolution2d_1", [kernel, bias], backend=b"theano")
    conv = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.Conv2D(6, 3)])
    found = read(volume, "old.h5", conv).get_weights()[0]
    np.testing.assert_array_equal(found, np.flip(kernel.transpose(2, 3, 1, 0), (0, 1)))


def test_cudnn_layers_become_plain_ones(volume):
    path = volume / "data" / "cudnn.h5"
    kernel, recurrent, bias = random((4, 12), (3, 12), (24,))
    keras1(path, "cu_dnnlstm", [kernel, recurrent, bias], keras_version=b"2.2.4")
    lstm = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3)])
    mine = read(volume, "cudnn.h5", lstm).get_weights()
    reference = tf_keras.Sequential([tf_keras.Input((5, 4)), tf_keras.layers.LSTM(3)])
    reference.load_weights(path)
    for one, other in zip(mine, reference.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("optimizer", ["Adam", "legacy.Adam", "SGD", "legacy.SGD", "RMSprop"])
def test_training_goes_on_with_the_optimizer_of_keras_2(volume, optimizer):
    x, y = random((32, 4), (32, 2))
    where = tf_keras.optimizers.legacy if optimizer.startswith("legacy") else tf_keras.optimizers
    name = optimizer.removeprefix("legacy.")
    arguments = {"momentum": 0.9} if name == "SGD" else {}
    old = dense(tf_keras, getattr(where, name)(0.01, **arguments))
    old.fit(x, y, epochs=2, shuffle=False, verbose=0)
    old.save(volume / "data" / "whole.h5")

    new = dense(keras, getattr(keras.optimizers, name)(0.01, **arguments))
    new.optimizer.build(new.trainable_variables)
    file = ModelFile(volume, "whole.h5", 1 << 30)
    file.load_weights(new)
    file.load_optimizer(new, [])
    assert int(new.optimizer.iterations) == 2
    said = file.compiled()
    assert (said.loss, said.optimizer["class_name"]) == ("mse", name)
    old.fit(x, y, epochs=2, shuffle=False, verbose=0)
    new.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(32), epochs=2, verbose=0)
    for one, other in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_another_optimizers_state_is_refused(volume):
    x, y = random((32, 4), (32, 2))
    old = dense(tf_keras, "adam")
    old.fit(x, y, verbose=0)
    old.save(volume / "data" / "whole.h5")
    new = dense(keras, keras.optimizers.SGD(0.01))
    new.optimizer.build(new.trainable_variables)
    with pytest.raises(BadSpec, match=r"Leave compile\.continue_optimizer out"):
        ModelFile(volume, "whole.h5", 1 << 30).load_optimizer(new, [])


def test_weights_of_another_model_are_refused_by_name_and_shape(volume):
    dense(tf_keras, "sgd").save_weights(volume / "data" / "weights.h5", save_format="h5")
    wide = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(3, name="out")])
    with pytest.raises(BadData, match=r"shape \(3, 2\); kernel of layer 'out' \(Dense\) takes shape \(3, 3\)"):
        read(volume, "weights.h5", wide)
    short = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(BadData, match="weights of 2 layers, the model has 1"):
        read(volume, "weights.h5", short)


def of_keras_1(*layers):
    """Return the model of Keras 3 that an architecture of Keras 1 becomes."""
    text = json.dumps({"class_name": "Sequential", "keras_version": "1.2.2", "config": list(layers)})
    return sizing.instantiate(architecture.checked(text))


def old_layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("order", ["kernels first", "layer by layer", "without biases"])
def test_a_highway_of_keras_1_finds_its_gate(volume, order):
    kernel, gate_kernel, bias, gate_bias = random((4, 4), (4, 4), (4,), (4,))
    arrays = [kernel, gate_kernel, bias, gate_bias]
    if order == "layer by layer":
        arrays = [kernel, bias, gate_kernel, gate_bias]
    if order == "without biases":
        arrays, bias, gate_bias = arrays[:2], 0, 0
    keras1(volume / "data" / "old.h5", "highway_1", arrays)
    layer = old_layer("Highway", "highway_1", input_dim=4, activation="tanh", bias=order != "without biases")
    model = read(volume, "old.h5", of_keras_1(layer))

    (x,) = inputs(model)
    gate = sigmoid(x @ gate_kernel + gate_bias)
    expected = np.tanh(x @ kernel + bias) * gate + x * (1 - gate)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


def test_the_features_of_a_maxout_layer_of_keras_1_stay_together(volume):
    kernel, bias = random((3, 4, 2), (3, 2))
    keras1(volume / "data" / "old.h5", "maxoutdense_1", [kernel, bias])
    layer = old_layer("MaxoutDense", "maxoutdense_1", input_dim=4, output_dim=2, nb_feature=3)
    model = read(volume, "old.h5", of_keras_1(layer))

    (x,) = inputs(model)
    expected = (np.tensordot(x, kernel, (1, 1)) + bias).max(axis=1)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


def test_samples_normalized_by_keras_1_leave_its_moving_statistics_out(volume):
    gamma, beta, mean, std = random((4,), (4,), (4,), (4,))
    keras1(volume / "data" / "old.h5", "batchnormalization_1", [gamma, beta, mean, std])
    layer = old_layer("BatchNormalization", "batchnormalization_1", mode=1, epsilon=1e-6, batch_input_shape=[None, 4])
    model = read(volume, "old.h5", of_keras_1(layer))

    (x,) = inputs(model)
    centered = x - x.mean(axis=1, keepdims=True)
    expected = gamma * centered / x.std(axis=1, keepdims=True) + beta
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-3)


def test_branches_that_keras_1_merged_are_found_by_their_names(volume):
    arrays = random((4, 3), (3,), (3, 3), (3,), (4, 3), (3,), (3, 2), (2,))
    names = ["dense_9", "dense_1", "dense_2", "dense_10"]
    with h5py.File(volume / "data" / "old.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in names]
        for index, name in enumerate(names):
            group = file.create_group(name)
            group.attrs["weight_names"] = [b"W", b"b"]
            group["W"], group["b"] = arrays[2 * index : 2 * index + 2]

    def merged(*branches):
        made = [
            {"class_name": "Sequential", "config": [old_layer("Dense", name, output_dim=3) for name in branch]}
            for branch in branches
        ]
        for branch in made:
            branch["config"][0]["config"]["input_dim"] = 4
        top = {"class_name": "Merge", "config": {"name": "merge_1", "mode": "sum", "layers": made}}
        return of_keras_1(top, old_layer("Dense", "dense_10", output_dim=2))

    model = read(volume, "old.h5", merged(["dense_9", "dense_1"], ["dense_2"]))
    x, y = inputs(model)
    w, b = arrays[::2], arrays[1::2]
    branch = (x @ w[0] + b[0]) @ w[1] + b[1]
    expected = (branch + y @ w[2] + b[2]) @ w[3] + b[3]
    np.testing.assert_allclose(model.predict([x, y], verbose=0), expected, rtol=1e-5)
    with pytest.raises(BadData, match="weights of 4 layers, the model has 3"):
        read(volume, "old.h5", merged(["dense_9", "dense_1"], ["dense_3"]))
