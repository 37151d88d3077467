"""Whole models in `.h5`, layer by layer: Keras 2 loads what is written, and so do jobs."""

import keras
import numpy as np
import pytest
import tf_keras

from shared.formats import Format
from tests.integration.training.old_models import inputs, scrambled
from worker.training import formats
from worker.training.modelfiles import keras3
from worker.training.modelfiles.files import ModelFile

pytestmark = [pytest.mark.filterwarnings("ignore:::tf_keras")]
L = keras.layers


def images():
    return [
        *(
            L.RandomFlip(),
            L.RandomRotation(0.1),
            L.RandomTranslation(0.1, 0.1),
            L.RandomZoom(0.1),
            L.RandomContrast(0.1),
        ),
        *(L.Rescaling(0.5), L.Resizing(9, 9), L.CenterCrop(8, 8), L.ZeroPadding2D(), L.Cropping2D(1)),
        *(L.Conv2D(4, 3), L.SeparableConv2D(4, 2), L.DepthwiseConv2D(2), L.Conv2DTranspose(4, 3), L.UpSampling2D()),
        *(L.BatchNormalization(), L.GroupNormalization(2), L.SpatialDropout2D(0.1), L.MaxPooling2D()),
        *(L.AveragePooling2D(2, padding="same"), L.GlobalAveragePooling2D()),
    ]


def steps():
    return [
        *(L.Masking(9.0), L.Conv1D(4, 2), L.DepthwiseConv1D(2), L.UpSampling1D(), L.SpatialDropout1D(0.1)),
        *(L.LSTM(3, recurrent_dropout=0.1, return_sequences=True), L.Bidirectional(L.GRU(2, return_sequences=True))),
        *(L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), L.TimeDistributed(L.Dense(4))),
        *(L.LayerNormalization(), L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), L.GRU(3, reset_after=False)),
    ]


def rows():
    return [
        *(L.Normalization(), L.Dense(4, kernel_constraint="max_norm", kernel_regularizer="l2"), L.PReLU()),
        *(L.LeakyReLU(0.1), L.ReLU(6.0), L.ELU(), L.UnitNormalization(), L.ActivityRegularization(l2=0.1)),
        *(L.GaussianNoise(0.1), L.GaussianDropout(0.1), L.AlphaDropout(0.1), L.RepeatVector(2), L.Permute((2, 1))),
        *(L.Flatten(), L.Activation("swish"), L.Softmax()),
    ]


@pytest.mark.parametrize(
    ("shape", "layers"), [((8, 8, 2), images), ((8, 3), steps), ((4,), rows)], ids=["images", "steps", "rows"]
)
def test_a_whole_model_in_h5_is_read_by_keras_2_and_by_jobs(volume, shape, layers):
    keras.utils.set_random_seed(1)
    model = scrambled(keras.Sequential([keras.Input(shape), *layers()]))
    keras3.finalize(model)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    file = formats.WRITERS[Format.H5](model, volume / "data")
    given = inputs(model)
    expected = np.asarray(model(given[0], training=False))

    old = tf_keras.models.load_model(file)
    np.testing.assert_allclose(old(given[0], training=False), expected, rtol=1e-4, atol=1e-5)
    read = ModelFile(volume, file.name, 1 << 30)
    again = keras.saving.deserialize_keras_object(read.architecture())
    read.load_weights(again)
    np.testing.assert_allclose(again(given[0], training=False), expected, rtol=1e-6, atol=1e-7)
