"""A job that learns from what was uploaded."""

import io

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
