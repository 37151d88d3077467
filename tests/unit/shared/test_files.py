"""Which files a spec names."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared import refs, spec
from shared.parts import FilePath, FolderPath, Part, files

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


class Form(Part):
    one: FilePath | list[FilePath] | dict[str, FilePath] | None = None
    folder: FolderPath | None = None
    inner: "Form | None" = None


def test_files_are_found_wherever_they_stand() -> None:
    upload = f"sha256:{'0a' * 32}"
    form = Form.model_validate({"one": ["a", "b/c"], "folder": "d", "inner": {"one": {"x/y~": upload}}})

    assert list(files(form)) == [("/one/0", "a"), ("/one/1", "b/c"), ("/folder", "d"), ("/inner/one/x~1y~0", upload)]
    assert [file.folder for _, file in files(form)] == [False, False, True, False]
    assert form.model_dump(mode="json", exclude_none=True)["inner"] == {"one": {"x/y~": upload}}


@pytest.mark.parametrize(
    "file",
    ["sha256:", f"sha256:{'0A' * 32}", f"sha256:{'0a' * 31}", f"sha256:{'0a' * 32}/x", "sha256:../../etc/passwd"],
)
def test_a_malformed_name_of_an_upload_is_refused(file: str) -> None:
    with pytest.raises(ValidationError, match="names no upload: behind 'sha256:' stand 64 digits"):
        Form.model_validate({"folder": file})


def test_a_sentence_calls_uploads_as_their_users_do() -> None:
    known, other = "sha256:" + "0a" * 32, "sha256:" + "0b" * 32
    sentence = f"{known}/a/1.png and {known} are no {other}."
    assert refs.told(sentence, {known: r"my \1.zip"}) == rf"my \1.zip/a/1.png and my \1.zip are no {other}."
