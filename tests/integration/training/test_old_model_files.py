"""Files of Keras 1 and 2, written by tf_keras or as Keras 1 wrote them, read into models of Keras 3."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from shared.errors import BadData, BadSpec
from tests.integration.training.old_models import dense, graph, inputs, random, scrambled
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
