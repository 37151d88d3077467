"""A spec that is stored is read back as it was."""

from shared import spec

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1, "activity_regularizer": "l2"}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": None},
}


def test_a_loss_that_is_null_is_stored_and_read_back():
    parsed = spec.parse(TINY)
    stored = parsed.model_dump(mode="json", exclude_none=True)

    assert stored["compile"]["loss"] is None
    assert spec.parse(stored) == parsed
