"""`fitq compare`, and what it makes of specs and metrics."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from fitq import comparison
from fitq.cli import cli
from fitq.comparison import ABSENT


@pytest.fixture
def run(server):
    def run(*args):
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    return run


def spec(units, **changes):
    return {
        "kind": "train",
        "model": {"layers": [{"Dense": {"units": units}}, {"Dense": {"units": 10}}], "input_shape": [64]},
        "fit": {"epochs": 3},
        **changes,
    }


def row(epoch, name, value, kind="finite"):
    return {"epoch": epoch, "name": name, "value": value, "value_kind": kind}


def test_only_what_differs_is_told_by_dotted_paths():
    found = comparison.differences([spec(8), spec(16, seed=3), spec(8)])

    assert found == {"model.layers.0.Dense.units": [8, 16, 8], "seed": [ABSENT, 3, ABSENT]}
    assert comparison.differences([spec(8), spec(8)]) == {}


def test_lists_of_values_are_values_and_empty_objects_are_there():
    assert comparison.places({"a": {"x": [[1.0], [2.0]]}, "b": {}}) == {"a.x": [[1.0], [2.0]], "b": {}}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("loss", False),
        ("val_loss", False),
        ("val_accuracy", True),
        ("auc", True),
        ("accuracy_loss", False),
        ("x", False),
    ],
)
def test_what_is_better_is_told_by_the_name(name, more):
    assert comparison.more_is_better(name) == more


def test_the_best_is_finite_and_the_earliest_and_the_last_is_the_newest():
    rows = [row(0, "loss", 0.5), row(1, "loss", 0.25), row(2, "loss", 0.25), row(3, "loss", None, "nan")]
    rows += [row(0, "accuracy", 0.5), row(1, "accuracy", 0.75), row(0, "f", None, "+inf")]

    found = comparison.measured(rows)

    assert found["loss"] == {"best": 0.25, "best_epoch": 1, "last": None, "last_epoch": 3, "last_kind": "nan"}
    assert (found["accuracy"]["best"], found["accuracy"]["last"]) == (0.75, 0.75)
    assert (found["f"]["best"], found["f"]["last_kind"]) == (None, "+inf")
    assert comparison.epochs(rows) == 4


def test_the_time_of_a_running_job_goes_on():
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    running = {"started_at": "2026-01-01T00:00:30Z", "finished_at": None}

    assert comparison.ran_s(running, now) == 30
    assert comparison.ran_s(running | {"finished_at": "2026-01-01T00:00:31Z"}, now) == 1
    assert comparison.ran_s({"started_at": None}, now) is None


@pytest.fixture
def two(server):
    first, second = server.add(1, spec=spec(8, name="small")), server.add(2, spec=spec(16))
    for job_id, loss in ((first, 0.5), (second, 0.25)):
        server.run(job_id)
        server.epoch(job_id, 0, loss=loss)
    server.epoch(first, 1, loss=0.75)
    server.end(first, "succeeded", value={})
    return first, second


def test_jobs_side_by_side_while_one_runs(run, two):
    done = run("compare", *two)

    assert done.exit_code == 0
    table = {line[:28].strip(): line[28:].split("  ") for line in done.stdout.splitlines()}
    told = {name: [part.strip() for part in parts if part.strip()] for name, parts in table.items()}
    assert told[""] == ["000000000001", "000000000002"]
    assert told["state"] == ["succeeded", "running"]
    assert told["epochs"] == ["2", "1"]
    assert told["best loss"] == ["0.5000 (epoch 1)", "0.2500 (epoch 1)"]
    assert told["last loss"] == ["0.7500", "0.2500"]
    assert told["model.layers.0.Dense.units"] == ["8", "16"]
    assert "fit.epochs" not in told


def test_the_same_as_json(run, two):
    told = json.loads(run("compare", *two, "-o", "json").stdout)

    assert [(one["id"], one["state"], one["epochs"]) for one in told["jobs"]] == [
        (two[0], "succeeded", 2),
        (two[1], "running", 1),
    ]
    assert told["jobs"][0]["running_s"] == 4.0
    assert told["jobs"][0]["metrics"]["loss"]["best"] == 0.5
    assert told["differs"] == {"model.layers.0.Dense.units": [8, 16], "name": ["small", None]}


def test_an_evaluation_is_compared_by_its_result(run, server):
    ids = [server.add(number, spec={"kind": "evaluate"}) for number in (1, 2)]
    value = {"rows": 10, "metrics": {"loss": None, "accuracy": 0.5}, "value_kinds": {"loss": "nan"}}
    server.end(ids[0], "succeeded", value=value)

    said = [line.split() for line in run("compare", *ids).stdout.splitlines()]

    assert ["best", "accuracy", "0.5000"] in said
    assert ["last", "loss", "nan"] in said


def test_it_takes_two(run, two):
    assert run("compare", two[0]).exit_code == 2
    assert run("compare", two[0], two[0]).exit_code == 2
