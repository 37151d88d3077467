"""Architectures of Keras 0, 1, 2, 3 and TensorFlow.js: each is converted, built, and computes what it computed.

Keras 2 and TensorFlow.js are compared with tf_keras, Keras 0 and 1 with `old_meanings`, for equal random weights.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from shared import architecture
from shared.dialects import reading
from tests.integration.training import old_meanings
from worker.training import sizing

pytestmark = [pytest.mark.filterwarnings("ignore:::tf_keras")]

FILES = {path.stem: path for path in sorted((Path(__file__).parents[2] / "fixtures" / "architectures").iterdir())}
#: Files whose numbers tf_keras 2 cannot tell as they stand, and what it reads in their place.
REPLACED: dict[str, dict[str, str]] = {
    "keras2_cudnn": {'"CuDNNLSTM"': '"LSTM"', '"CuDNNGRU"': '"GRU"'},
    "keras2_efficientnet_block": {'"FixedDropout"': '"Dropout"'},
    "keras2_gru_without_reset_after": {'"name": "old"': '"name": "old", "reset_after": false'},
}
BATCH = 2


def built(text: str) -> Any:
    """Build as a job does: measured, then made."""
    config = architecture.checked(text)
    assert sizing.measure(config).parameters >= 0
    model = sizing.instantiate(config)
    sizing.check_built(model)
    return model


def scramble(model: Any) -> list[np.ndarray]:
    """Give a model weights that saturate nothing."""
    rng = np.random.default_rng(3)
    made = []
    for value in model.get_weights():
        scale = 1 / np.sqrt(max(np.prod(value.shape[:-1]), 1))
        fresh = rng.uniform(-1, 1, value.shape) * scale if value.ndim > 1 else rng.uniform(0.3, 1.2, value.shape)
        made.append(fresh.astype(value.dtype))
    model.set_weights(made)
    return made


def samples(model: Any, *, whole: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = [tuple(BATCH if size is None else size for size in tensor.shape) for tensor in model.inputs]
    return [(rng.integers(0, 9, shape) if whole else rng.normal(size=shape)).astype("float32") for shape in shapes]


def outputs(model: Any, x: list[np.ndarray]) -> list[np.ndarray]:
    predicted = model.predict(x if len(x) > 1 else x[0], batch_size=BATCH, verbose=0)
    return [np.asarray(one) for one in keras.tree.flatten(predicted)]


def by_layer(model: Any) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(other).max())))
    assert max(float(one.std()) for one in found) > 1e-4, "all outputs are alike, so nothing was compared"


def has_words(name: str) -> bool:
    return "Embedding" in FILES[name].read_text()


def original(name: str) -> Any:
    """Return the model that tf_keras makes of a file."""
    text = FILES[name].read_text()
    for old, new in REPLACED.get(name, {}).items():
        assert old in text
        text = text.replace(old, new)
    if name == "keras2_cudnn":
        text = text.replace('"return_state"', '"reset_after": true, "return_state"')
    return tf_keras.models.model_from_json(json.dumps(reading.read(text)[0]))


def copied(old: Any, new: Any) -> None:
    """Give a model the other's weights: in one row where the rows are alike, else layer by layer."""
    values = scramble(old)
    if [one.shape for one in values] == [tuple(one.shape) for one in new.get_weights()]:
        new.set_weights(values)
        return
    for layer in new.layers:
        if layer.weights:
            layer.set_weights(old.get_layer(layer.name).get_weights())


def test_there_are_enough_and_each_has_its_meaning() -> None:
    assert len(FILES) >= 40
    assert {name for name in FILES if name.startswith(("keras0", "keras1"))} == set(old_meanings.MEANINGS)


@pytest.mark.parametrize("name", sorted(old_meanings.MEANINGS))
def test_keras_0_and_1_mean_what_they_meant(name: str) -> None:
    model = built(FILES[name].read_text())
    scramble(model)
    x = samples(model, whole=has_words(name))
    same(outputs(model, x), old_meanings.MEANINGS[name](x, by_layer(model)))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith(("keras2", "tfjs"))])
def test_keras_2_computes_the_same(name: str) -> None:
    old, new = original(name), built(FILES[name].read_text())
    x = samples(new, whole=has_words(name))
    if not old.built:
        outputs(old, x)
    copied(old, new)
    same(outputs(new, x), outputs(old, x))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("keras3")])
def test_keras_3_is_left_as_it_is(name: str) -> None:
    text = FILES[name].read_text()
    new, plain = built(text), keras.models.model_from_json(text)
    plain.set_weights(scramble(new))
    x = samples(new, whole=False)
    same(outputs(new, x), outputs(plain, x))
    assert architecture.converted(text)[1] == []


@pytest.mark.parametrize("name", list(FILES))
def test_what_came_out_goes_in_again_unchanged(name: str) -> None:
    once = architecture.checked(FILES[name].read_text())
    assert architecture.converted(once) == (once, [])
