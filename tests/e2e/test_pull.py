"""A trained model comes out of a real stack, by SDK and by command, and predicts as the stack does."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import fitq
from fitq.cli import cli
from tests.e2e.stacks import PATIENCE_S, spec

pytestmark = pytest.mark.filterwarnings("ignore:::keras", "ignore:::numpy")


def test_a_model_is_pulled_in_formats_and_predicts_the_same(stack, queue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(1).normal(size=(4, 8, 8)).round(3)
    job = queue.submit(spec(fit={"epochs": 2, "batch_size": 32})).wait(PATIENCE_S).raise_for_state()
    asked = {"kind": "predict", "model": {"job": job.id}, "data": {"input": {"x": x.tolist()}}}
    expected = queue.submit(asked).wait(PATIENCE_S).raise_for_state().result()["value"]["predictions"]

    with ThreadPoolExecutor(4) as crowd:
        files = list(crowd.map(lambda n: job.pull("keras", tmp_path / f"{n}.keras"), range(4)))
    assert len({file.read_bytes() for file in files}) == 1
    exports = """SELECT count(*) FROM jobs WHERE kind = 'export'
        AND id IN (SELECT job_id FROM job_inputs WHERE source_job_id = :id)"""
    assert stack.rows(exports, id=job.id) == [(1,)]
    loaded = keras.models.load_model(files[0])
    np.testing.assert_allclose(loaded(x.astype("float32") * np.float32(0.0625)), expected, rtol=1e-4, atol=1e-5)
    assert job.pull("h5", checkpoint=0).name == f"{job.id}-0.h5"

    run = CliRunner()
    pulled = run.invoke(cli, ["--url", stack.state["url"], "pull", job.id, "--as", "tf", "-o", "weights.zip"])
    assert (pulled.exit_code, pulled.stdout) == (0, "weights.zip\n"), pulled.output
    assert "model.index" in zipfile.ZipFile("weights.zip").namelist()
    again = run.invoke(cli, ["--url", stack.state["url"], "pull", job.id, "--as", "json", "-o", "weights.zip"])
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    forced = ["--url", stack.state["url"], "pull", job.id, "--as", "json", "-o", "weights.zip", "--force"]
    assert run.invoke(cli, forced).exit_code == 0
    assert json.loads((tmp_path / "weights.zip").read_text())["class_name"] == "Sequential"
    made = stack.rows(exports, id=job.id)
    job.pull("h5", tmp_path / "kept.h5", checkpoint=0)
    assert stack.rows(exports, id=job.id) == made, "the file is kept"

    with pytest.raises(fitq.errors.NotFound, match="any more"):
        job.pull("h5", checkpoint=9)
    with pytest.raises(fitq.errors.Misconfigured, match="there already"):
        job.pull("h5", tmp_path / "kept.h5")
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]
    running = queue.submit(spec(fit={"epochs": 500}))
    with pytest.raises(fitq.errors.Conflict, match="yet"):
        running.pull()
    running.cancel(now=True)
