"""Every example runs, as its own comments say."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fitq.cli import cli
from tests.e2e.backends import on_sqlite
from tests.e2e.stacks import ROOT

# What an example does is the same on every backend.
pytestmark = on_sqlite

#: What needs Fashion-MNIST and minutes has a test of its own.
ELSEWHERE = {"fashion-mnist"}
JOBS = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml") if path.stem not in ELSEWHERE)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A copy of the examples, with the files that they name."""
    found = tmp_path_factory.mktemp("examples") / "examples"
    shutil.copytree(ROOT / "examples", found, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, "make_data.py"], cwd=found, check=True, capture_output=True)
    return found


@pytest.fixture
def fitq(stack, monkeypatch):
    """Run `fitq` against the shared stack."""
    monkeypatch.setenv("FITQ_URL", stack.state["url"])

    def run(*args):
        done = CliRunner().invoke(cli, list(map(str, args)))
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@pytest.fixture(scope="session")
def trained(stack, folder):
    """The id of the digits' train job, whose model other examples take."""
    with stack.queue() as queue:
        from fitq import specfile

        return queue.submit(specfile.load(str(folder / "digits.yaml"))).wait(90).raise_for_state().id


@pytest.mark.parametrize("name", [name for name in JOBS if name != "digits"])
def test_an_example_runs(fitq, folder, trained, name):
    path = folder / f"{name}.yaml"
    path.write_text(path.read_text().replace("JOB_ID", trained))

    said = fitq("submit", path, "--watch", "--timeout", 90)

    lines = said.splitlines()
    assert len(lines) > 1
    if "EPOCH" in lines[0]:
        assert "not finite" not in said


def test_the_commands_of_the_help_texts_run(fitq, folder, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    made = fitq(
        "train", "npz.yaml", "--data", "data/digits.npz", "--x", "images", "--y", "labels", "--validation-split", 0.1,
        "--epochs", 1, "--name", "shorter", "--watch",
    )  # fmt: skip
    assert made.splitlines()[0].split() == ["EPOCH", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert len(made.splitlines()) > 2

    measured = fitq("evaluate", trained, "--data", "data/digits-x.npy", "--labels", "data/digits-y.npy", "--scale", 1)
    accuracy = next(float(line.split()[1]) for line in measured.splitlines() if line.startswith("metrics.accuracy"))
    assert accuracy > 0.9

    asked = ["predict", trained, "--data", "data/digits-x.npy", "--scale", 1, "--head", "softmax", "--top-k", 3]
    assert fitq(*asked, "-o", tmp_path / "p.npz").strip() == str(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as saved:
        assert saved["predictions"].shape == (1797, 10)
        np.testing.assert_allclose(saved["predictions"].sum(axis=1), 1, rtol=1e-5)
        best = saved["predictions"].argmax(axis=1)
    fitq(*asked, "-o", tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table["class"].to_pylist() == best.tolist()
    assert len(table["top"][0].as_py()) == 3
    assert (best == np.load("data/digits-y.npy")).mean() == pytest.approx(accuracy, abs=1e-4)


def test_a_job_that_init_writes_is_checked_and_run(fitq, tmp_path, trained):
    for kind in ("train", "evaluate", "predict"):
        path = tmp_path / f"{kind}.yaml"
        fitq("init", kind, *([] if kind == "train" else ["--job", trained]), "-o", path)
        assert "parameters" in fitq("submit", path, "--check")
        assert fitq("submit", path, "--watch")
