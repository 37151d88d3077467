"""What a model takes, counted before memory is taken."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from shared.errors import BadSpec, FieldError
from worker.training.faults import explained
from worker.training.modelfiles.files import ModelFile

#: Resident megabytes of a runner that has only imported TensorFlow and traced a small step.
BASE_MB = 500


@dataclass(frozen=True)
class Size:
    """A model's size. Shapes include the batch axis, which is None."""

    parameters: int
    trainable: int
    weight_bytes: int
    trainable_bytes: int
    #: Bytes of all layers' outputs for one sample, where their shapes are known.
    activation_bytes: int
    input_shape: Any
    output_shape: Any
    input_names: tuple[str, ...] = ()
    #: How many arrays the weights are, and the trainable ones.
    variables: int = 0
    trainable_variables: int = 0
    #: Numbers of all outputs for one sample, where their shapes are known.
    outputs: int = 0


def measure(config: dict[str, Any], *, weights: ModelFile | None = None) -> Size:
    """Count a model from its checked configuration; nothing is allocated. Raise `BadSpec` when it cannot be built.

    With `weights`, raise `BadData` when the weights in that file are not the model's.
    """
    keras.backend.clear_session(free_memory=False)
    with explained("The model cannot be built"), keras.StatelessScope(initialize_variables=False):
        model = instantiate(config)
        check_built(model)
        size = of(model)
        if weights is not None:
            weights.check_weights(model)
        return size


def instantiate(config: dict[str, Any]) -> Any:
    """Return the model of a checked configuration. Keras empties the dictionary that it reads; this one stays whole."""
    return keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)


def check_built(model: Any) -> None:
    """Raise `BadSpec` for a model whose input shape is not known."""
    if not isinstance(model, keras.Model) or not model.built or not model.inputs:
        message = "The model does not say its input shape: give input_shape, or an InputLayer as its first layer."
        raise BadSpec(message, fields=(FieldError("/model", message),))


def of(model: Any) -> Size:
    """Count a model that was built."""
    weights = {id(v): v for v in model.weights}.values()
    trainable = [v for v in weights if v.trainable]
    return Size(
        parameters=sum(_count(v) for v in weights),
        trainable=sum(_count(v) for v in trainable),
        weight_bytes=sum(_bytes(v) for v in weights),
        trainable_bytes=sum(_bytes(v) for v in trainable),
        activation_bytes=sum(_outputs(layer) for layer in model.layers),
        input_shape=model.input_shape,
        output_shape=model.output_shape,
        input_names=input_names(model),
        variables=len(weights),
        trainable_variables=len(trainable),
        outputs=sum(math.prod(n or 1 for n in tensor.shape[1:]) for tensor in model.outputs),
    )


def input_names(model: Any) -> tuple[str, ...]:
    """Return the names of a model's inputs, by which data may name its arrays."""
    return tuple(str(tensor.name) for tensor in model.inputs)


def _count(variable: Any) -> int:
    return math.prod(variable.shape)


def _bytes(variable: Any) -> int:
    return _count(variable) * int(np.dtype(tf.as_dtype(variable.dtype).as_numpy_dtype).itemsize)


def _outputs(layer: Any) -> int:
    outputs = getattr(layer, "output", None) if getattr(layer, "_inbound_nodes", None) else None
    return sum(4 * math.prod(n or 1 for n in tensor.shape[1:]) for tensor in keras.tree.flatten(outputs))


def slots(optimizer: Any) -> int:
    """Return how many variables of a weight's size an optimizer keeps for each weight, by trying it on a small one."""
    probe = type(optimizer).from_config(optimizer.get_config())
    shape = (3, 5)
    probe.build([keras.Variable(keras.ops.zeros(shape), name="probe")])
    return sum(1 for v in probe.variables if tuple(v.shape) == shape)


def training_bytes(size: Size, optimizer_slots: int) -> int:
    """Return the least that training takes: weights, gradients, optimizer slots."""
    return size.weight_bytes + size.trainable_bytes * (1 + optimizer_slots)


def check_fits(needed_bytes: int, size: Size, memory_mb: int) -> None:
    """Raise `BadSpec` with the numbers when a model cannot fit the job's memory."""
    if needed_bytes > memory_mb << 20:
        message = (
            f"The model has {size.parameters:,} parameters and takes at least {needed_bytes >> 20:,} MB; "
            f"resources.memory_mb allows {memory_mb:,}."
        )
        raise BadSpec(message, fields=(FieldError("/resources/memory_mb", message),))


def estimate_mb(state_bytes: int, size: Size, data_bytes: int, batch_size: int) -> int:
    """Return about how much resident memory a job takes, MB: runner, state, data, activations."""
    return BASE_MB + ((state_bytes + data_bytes + 2 * size.activation_bytes * batch_size) >> 20)
