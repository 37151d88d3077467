"""Jobs on databases that have trouble."""

import pytest

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}


@pytest.fixture
def tiny():
    """A small job."""
    return dict(TINY)
