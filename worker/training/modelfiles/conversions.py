"""How weights of Keras 1 and 2 become those of Keras 3: other orders of gates, other layouts of kernels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Arrays = list[np.ndarray]

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Conv2DTranspose)
#: Arrays that Keras 1 saved of a GRU and of an LSTM: three for each gate.
_OLD_GRU, _OLD_LSTM = 9, 12


@dataclass(frozen=True)
class Writer:
    """What wrote a file: Keras 1, and a backend whose convolutions turn their kernels around (Theano)."""

    keras1: bool = False
    theano: bool = False


def converted(layer: Any, arrays: Arrays, by: Writer) -> Arrays:
    """Return a layer's arrays in the form that Keras 3 has; what needs nothing is returned as it is."""
    if isinstance(layer, keras.layers.Bidirectional):
        half = len(arrays) // 2
        back = converted(layer.backward_layer, arrays[half:], by)
        return converted(layer.forward_layer, arrays[:half], by) + back
    if isinstance(layer, keras.layers.TimeDistributed):
        return converted(layer.layer, arrays, by)
    if isinstance(layer, keras.Model):
        return _nested(layer, _of_subgraph(layer, arrays) if by.keras1 else arrays, by)
    if isinstance(layer, keras.layers.LSTM):
        return _lstm(arrays)
    if isinstance(layer, keras.layers.GRU):
        return _gru(layer, arrays)
    if isinstance(layer, _CONVOLUTIONS) and arrays:
        return [_kernel(layer, arrays[0], by), *arrays[1:]]
    if isinstance(layer, keras.layers.LayerNormalization) and by.keras1:
        # It was a BatchNormalization of mode 1, which had moving statistics and did not use them.
        return arrays[:2]
    return arrays


def _of_subgraph(model: Any, arrays: Arrays) -> Arrays:
    """Return the arrays of a layer of Keras 1 that became a small model (`shared/dialects/subgraphs.py`)."""
    kinds = [type(layer) for layer in model.layers if layer.weights]
    if kinds == [keras.layers.Dense] and arrays and arrays[0].ndim == 3:  # noqa: PLR2004 - MaxoutDense: feature, in, out
        kernel = np.moveaxis(arrays[0], 0, 1)
        return [kernel.reshape(kernel.shape[0], -1), *(bias.reshape(-1) for bias in arrays[1:])]
    if kinds == [keras.layers.Dense] * 2 and [one.ndim for one in arrays] == [2, 2, 1, 1]:
        # Highway, from Keras 1.2 on: both kernels, both biases.
        return [arrays[0], arrays[2], arrays[1], arrays[3]]
    return arrays


def _nested(model: Any, arrays: Arrays, by: Writer) -> Arrays:
    """Convert a model in a model: the trainable weights of all its layers come first, then the others."""
    cut = len(model.trainable_weights)
    trained, fixed = arrays[:cut], arrays[cut:]
    first: Arrays = []
    last: Arrays = []
    for layer in model.layers:
        own, other = len(layer.trainable_weights), len(layer.non_trainable_weights)
        made = converted(layer, trained[:own] + fixed[:other], by)
        first, last = first + made[:own], last + made[own:]
        trained, fixed = trained[own:], fixed[other:]
    return first + trained + last + fixed


def _joined(arrays: Arrays, gates: tuple[int, ...]) -> Arrays:
    return [np.concatenate([arrays[gate * 3 + part] for gate in gates], axis=-1) for part in range(3)]


def _lstm(arrays: Arrays) -> Arrays:
    if len(arrays) == _OLD_LSTM:
        # Keras 1 kept the gates apart, in the order input, cell, forget, output; now it is input, forget, cell, output.
        return _joined(arrays, (0, 2, 1, 3))
    if len(arrays) == 3 and arrays[2].shape == (8 * arrays[1].shape[0],):  # noqa: PLR2004 - kernels and bias
        kernel, recurrent, bias = arrays
        # CuDNNLSTM: transposed kernels, and two biases that are added.
        return [_each(kernel, 4, _from_cudnn), _each(recurrent, 4, np.transpose), np.sum(np.split(bias, 2), axis=0)]
    return arrays


def _gru(layer: Any, arrays: Arrays) -> Arrays:
    if len(arrays) == _OLD_GRU:
        return _joined(arrays, (0, 1, 2))
    cudnn = len(arrays) == 3 and arrays[2].shape == (6 * arrays[1].shape[0],)  # noqa: PLR2004 - kernels and bias
    if cudnn and layer.reset_after:
        kernel, recurrent, bias = arrays
        return [_each(kernel, 3, _from_cudnn), _each(recurrent, 3, np.transpose), bias.reshape(2, -1)]
    return arrays


def _each(kernel: np.ndarray, gates: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.hstack([change(part) for part in np.hsplit(kernel, gates)])


def _from_cudnn(kernel: np.ndarray) -> np.ndarray:
    return kernel.T.reshape(kernel.shape, order="F")


def _kernel(layer: Any, kernel: np.ndarray, by: Writer) -> np.ndarray:
    if by.keras1:
        kernel = _keras1_kernel(layer, kernel)
    if by.theano:
        # Theano's convolution turns the kernel around, TensorFlow's does not.
        kernel = np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))
    return kernel


def _keras1_kernel(layer: Any, kernel: np.ndarray) -> np.ndarray:
    first = layer.data_format == "channels_first"
    if isinstance(layer, keras.layers.Conv1D) and kernel.ndim == 4:  # noqa: PLR2004 - Keras 1 had an axis of 1
        if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
            kernel = np.transpose(kernel, (2, 3, 1, 0))
        return kernel[:, 0]
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return np.transpose(kernel, (2, 3, 0, 1) if first else (0, 1, 3, 2))
    if isinstance(layer, keras.layers.Conv2D) and (first or kernel.shape != tuple(layer.kernel.shape)):
        return np.transpose(kernel, (2, 3, 1, 0))
    if isinstance(layer, keras.layers.Conv3D) and first:
        return np.transpose(kernel, (2, 3, 4, 1, 0))
    return kernel
