"""The main job on real images, where they are at hand. `test_notes_http.py` has the accuracy after ten epochs."""

import os

import pytest

from tests.e2e.backends import on_postgresql
from tests.e2e.stacks import epochs, spec, until

FASHION = {
    "model": {
        "layers": [{"Flatten": {}}, {"Dense": {"units": 128, "activation": "relu"}}, {"Dense": {"units": 10}}],
        "input_shape": [28, 28],
    },
    "data": {
        "train": {"dataset": "fashion_mnist", "split": "train"},
        "validation": {"dataset": "fashion_mnist", "split": "test"},
        "scale": 0.00392156862745098,
    },
    "resources": {"memory_mb": 2048},
}


@on_postgresql
@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("FITQ_DATASETS"), reason="FITQ_DATASETS names no folder with Fashion-MNIST")
def test_fashion_mnist_reaches_its_accuracy_and_survives_its_runner(stack, queue):
    fit = {"epochs": 5}
    whole = queue.submit(spec(name="whole", seed=0, fit=fit, **FASHION)).wait(400).raise_for_state()
    assert whole.history()["val_accuracy"][-1] >= 0.85
    assert epochs(stack, whole.id) == list(range(5))

    killed = queue.submit(spec(name="killed", seed=0, fit=fit, **FASHION))
    until(lambda: len(epochs(stack, killed.id)) >= 2, "two epochs")
    stack.kill(f"fitq runner {killed.id}")
    killed.wait(400).raise_for_state()

    assert killed.data["attempt"] == 2
    assert killed.history() == whole.history()
    assert killed.result()["weights_sha256"] == whole.result()["weights_sha256"]
