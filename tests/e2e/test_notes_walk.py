"""The walk in `examples/`: the script and the notebook run to their ends, on a stack of their own."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.stacks import ROOT, Stack

EXAMPLES = ROOT / "examples"
PATIENCE_S = 300
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore:::jupyter_client")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What a reader has set: FITQ_URL, and a folder for temporary files."""
    stack = Stack(tmp_path_factory.mktemp("walk"), FITQ_SLOTS="1").start()
    yield {**os.environ, "FITQ_URL": stack.state["url"], "TMPDIR": str(tmp_path_factory.mktemp("files"))}
    stack.stop()


def learned(text):
    """Return the accuracy that the walk came to on the images."""
    return float(re.search(r"Test accuracy: (\S+)", text)[1])


def test_the_script_runs_to_its_end(environment, tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "notes.py"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "logs/validation/events" in done.stdout
    assert "changed: " in done.stdout
    for name in ("notes.json", "notes.yaml"):
        assert f"{name} becomes ['dense_23', 'dense_24'] and predicts (2, 10)\n" in done.stdout
    assert learned(done.stdout) > 0.8
    assert list(tmp_path.iterdir()) == [], "its files are where it said"


def test_the_notebook_runs_to_its_end_on_the_digits(environment, tmp_path, monkeypatch):
    for name, value in {**environment, "FITQ_DATASETS": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    # A notebook runs where it lies, and its files of models beside it.
    shutil.copytree(EXAMPLES / "models", tmp_path / "models")
    book = nbformat.read(EXAMPLES / "notes.ipynb", nbformat.NO_CONVERT)
    assert not any(cell.get("outputs") for cell in book.cells)
    NotebookClient(
        book, timeout=PATIENCE_S, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    texts = ["".join(part.get("text", "") for part in cell.get("outputs", [])) for cell in book.cells]
    assert "notes.yaml becomes ['dense_23', 'dense_24']" in "".join(texts)
    assert "(1437, 8, 8)" in "".join(texts)
    assert learned("".join(texts)) > 0.8
    assert re.fullmatch(r"(\w+ +[01]\.\d{3}\n){3}", texts[-1])
