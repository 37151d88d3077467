"""A job that learns from what was uploaded."""

import io
import zipfile

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fitq import errors
from tests.e2e.stacks import PATIENCE_S, spec


def test_a_job_trains_from_an_upload_as_from_a_file(stack, queue):
    x, y = load_digits(return_X_y=True)
    file = io.BytesIO()
    np.savez_compressed(file, x=x.reshape(-1, 8, 8)[:600].astype("float32"), y=y[:600])
    ref = queue.upload(file.getvalue(), name="digits.npz")
    (stack.home / "volume" / "data" / "digits.npz").write_bytes(file.getvalue())

    both = [
        queue.submit(spec(data={"train": {"npz": source}, "validation": {"split": 0.1}}, fit={"epochs": 2}))
        for source in (ref, "digits.npz")
    ]

    results = [job.wait(PATIENCE_S).raise_for_state().result() for job in both]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    rows = stack.rows("SELECT pointer, sha256 FROM job_inputs WHERE job_id = :id", id=both[0].id)
    assert rows == [("/data/train/npz", ref.removeprefix("sha256:"))]

    # What is no .npz file is taken as content, and is the job's own fault.
    wrong = queue.submit(spec(data={"train": {"npz": queue.upload(b"no archive")}, "validation": {"split": 0.1}}))
    with pytest.raises(errors.JobFailed, match=r"readable \.npz file"):
        wrong.wait(PATIENCE_S).raise_for_state()


def test_what_is_wrong_in_an_upload_is_said_of_the_file_that_the_user_knows(queue, tmp_path):
    (tmp_path / "train.csv").write_text("a,b,c\n1,2,0\n3,oops,1\n")
    (tmp_path / "good.csv").write_text("a,b,c\n1,2,0\n3,4,1\n")
    with zipfile.ZipFile(tmp_path / "shades.zip", "w") as archive:
        for name in ("a/1.png", "b/1.png"):
            archive.writestr(name, b"no image")
    np.savez(tmp_path / "other.npz", kernel=np.zeros((2, 2)))
    (tmp_path / "torn.weights.h5").write_bytes(b"PK\3\4" + bytes(100))
    refs = {path.name: queue.upload(path) for path in tmp_path.iterdir()}
    nameless = queue.upload((tmp_path / "train.csv").read_bytes() + b"5,6,1\n")

    layers = {"layers": [{"Dense": {"units": 2}}], "input_shape": [2]}
    pictures = {"layers": [{"Flatten": {}}, {"Dense": {"units": 2}}], "input_shape": [8, 8, 3]}
    train, good = ({"csv": refs[name], "label": "c"} for name in ("train.csv", "good.csv"))

    def said(model, train, **more):
        asked = {**spec(), "model": model, "data": {"train": train, **more}, "fit": {"epochs": 1}}
        job = queue.submit(asked).wait(PATIENCE_S)
        assert (job.state, job.data["error"]["code"]) == ("failed", "bad_data")
        message = job.data["error"]["message"]
        assert message in job.logs()
        assert "sha256:" not in message
        return message

    place = "line 3, column 'b': 'oops' is no number"
    assert said(layers, train).startswith(f"train.csv, {place}")
    assert said(layers, good, validation=train).startswith(f"train.csv, {place}")
    assert said(layers, good, validation={**train, "csv": nameless}).startswith(f"/data/validation/csv, {place}")
    assert said(pictures, {"images": refs["shades.zip"], "image_size": [8, 8]}).startswith("shades.zip/a/1.png is no")
    assert said({**layers, "weights": refs["other.npz"]}, good).startswith("other.npz")
    assert said({**layers, "weights": refs["torn.weights.h5"]}, good).startswith("torn.weights.h5 is no")
