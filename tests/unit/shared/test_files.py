"""Which files a spec names."""

from typing import Any

from shared import spec
from shared.parts import files

MODEL = {"layers": [{"Dense": {"units": 2}}], "input_shape": [4]}


def found(value: dict[str, Any]) -> list[tuple[str, str]]:
    return list(files(spec.parse(value)))


def test_train_names_two_sources() -> None:
    data = {"train": {"npz": "a/b.npz", "x": "images"}, "validation": {"npy": "x.npy", "labels": "y.npy"}}

    assert found({"kind": "train", "model": MODEL, "data": data, "compile": {"loss": "mse"}}) == [
        ("/data/train/npz", "a/b.npz"),
        ("/data/validation/npy", "x.npy"),
        ("/data/validation/labels", "y.npy"),
    ]


def test_a_split_and_a_data_set_name_none() -> None:
    data = {"train": {"dataset": "digits"}, "validation": {"split": 0.1}}

    assert found({"kind": "train", "model": MODEL, "data": data, "compile": {"loss": "mse"}}) == []


def test_evaluate_and_predict_name_one() -> None:
    source = {"npy": "x.npy"}

    assert found({"kind": "predict", "model": MODEL, "data": {"input": source}}) == [("/data/input/npy", "x.npy")]
    evaluate = {"kind": "evaluate", "model": MODEL, "data": {"test": source}, "compile": {"loss": "mse"}}
    assert found(evaluate) == [("/data/test/npy", "x.npy")]
