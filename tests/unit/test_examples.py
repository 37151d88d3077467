"""Every example is a job that the API takes."""

import runpy
from pathlib import Path

import pytest

from fitq import localfiles, specfile
from fitq.localfiles import LocalFiles
from shared import spec

EXAMPLES = Path(__file__).parents[2] / "examples"
#: What stands for a train job's id in the examples, and an id to put there.
PLACEHOLDER, JOB_ID = "JOB_ID", "job_0193a2c4-7a3e-7c51-b2f0-1f6f3a9d8e21"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_a_job(path):
    job = specfile.read(path.name, path.read_text().replace(PLACEHOLDER, JOB_ID))
    if localfiles.is_local(job["model"].get("architecture")):
        job["model"] = LocalFiles(EXAMPLES, str).sent({"model": job["model"]})["model"]
    parsed = spec.parse(job)

    assert parsed.name
    assert path.name in (EXAMPLES / "README.md").read_text()


def test_each_kind_of_job_has_an_example():
    kinds = {specfile.read(path.name, path.read_text())["kind"] for path in EXAMPLES.glob("*.yaml")}

    assert kinds == {str(kind) for kind in spec.SPECS}


def test_the_notebook_is_the_script():
    made = runpy.run_path(str(EXAMPLES / "make_notebook.py"))["notebook"]((EXAMPLES / "notes.py").read_text())

    assert (EXAMPLES / "notes.ipynb").read_text() == made, "run `make notebook`"
