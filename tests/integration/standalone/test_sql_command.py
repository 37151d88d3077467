"""`fitq sql`: data on stdout, everything else on stderr, and never a word written to the database."""

import csv
import io
import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from fitq.cli import cli
from shared import db, jobs, spec
from shared.views import VIEWS
from standalone import commands

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}


@pytest.fixture
def fitq(database_url, monkeypatch):
    """Run `fitq sql`."""
    monkeypatch.setenv("FITQ_DATABASE_URL", database_url)
    return lambda *arguments: CliRunner().invoke(commands.sql, arguments)


@pytest.fixture
def job(engine):
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse({**TINY, "name": "a, b", "seed": 3})).job_id


def test_a_table_for_people(fitq, job):
    done = fitq("SELECT name, seed, error_code FROM v_jobs")

    assert done.stdout.splitlines() == ["name  seed  error_code", "a, b     3"]
    assert (done.exit_code, done.stderr) == (0, "")


def test_json_for_programs(fitq, job):
    done = fitq("SELECT job_id, seed, priority * 0.5 AS half, error_code FROM v_jobs", "-o", "json")

    assert json.loads(done.stdout) == [{"job_id": job, "seed": 3, "half": 0.0, "error_code": None}]


def test_csv_for_spreadsheets(fitq, job):
    done = fitq("SELECT name, name AS name, error_code FROM v_jobs", "-o", "csv")

    assert list(csv.reader(io.StringIO(done.stdout))) == [["name", "name_2", "error_code"], ["a, b", "a, b", ""]]


def test_no_rows_are_an_answer(fitq):
    assert json.loads(fitq("SELECT job_id FROM v_jobs", "-o", "json").stdout) == []
    assert fitq("SELECT job_id FROM v_jobs", "-o", "csv").stdout == "job_id\n"


def test_both_databases_say_moments_alike(fitq, job):
    (row,) = json.loads(fitq("SELECT created_at, queued_at FROM v_jobs", "-o", "json").stdout)

    assert all(len(moment) == len("2026-03-02 08:00:00.000000") and moment[10] == " " for moment in row.values())


def test_the_note_about_more_rows_is_no_data(fitq):
    done = fitq("VALUES (1), (2), (3)", "--limit", "2", "-o", "csv")

    assert done.stdout.splitlines()[1:] == ["1", "2"]
    assert done.stderr == "There are more rows than 2; --limit shows more of them.\n"
    assert fitq("VALUES (1), (2)", "--limit", "2").stderr == ""


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM jobs", "SELECT 1; DELETE FROM jobs", "SELECT nothing FROM v_jobs", "SELEC 1", ""],
)
def test_an_error_is_one_sentence(fitq, engine, job, statement):
    done = fitq(statement)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    with db.read(engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar_one() == 1


def test_the_time_limit_holds(fitq):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    done = fitq(endless, "--timeout", "0.2")

    assert (done.exit_code, done.stderr) == (1, "Error: The statement took longer than 0.2 s and was stopped.\n")


def test_what_a_terminal_would_obey_is_not_printed(fitq):
    done = fitq("SELECT '\x1b[31mred\x1b[0m' AS colour")

    assert done.stdout.splitlines() == ["colour", "red"]


def test_without_a_statement_the_views_are_listed_and_nothing_is_opened(monkeypatch):
    monkeypatch.setenv("FITQ_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    listed, as_json, as_csv = (
        CliRunner().invoke(commands.sql, options) for options in ([], ["-o", "json"], ["-o", "csv"])
    )

    assert listed.exit_code == 0
    for name, view in VIEWS.items():
        assert f"{name}: {view.sentence}\n" in listed.stdout
    assert json.loads(as_json.stdout)["v_job_tags"]["columns"] == VIEWS["v_job_tags"].columns
    assert len(list(csv.reader(io.StringIO(as_csv.stdout)))) == 1 + sum(len(view.columns) for view in VIEWS.values())


def test_without_a_database_it_says_where_it_looked(monkeypatch, tmp_path):
    monkeypatch.delenv("FITQ_DATABASE_URL", raising=False)
    monkeypatch.setenv("FITQ_HOME", str(tmp_path))
    done = CliRunner().invoke(commands.sql, ["SELECT 1"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert f"There is no database at {tmp_path / 'fitq.db'}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_joins_the_command_line():
    (found,) = (point for point in entry_points(group="fitq.commands") if point.name == "sql")

    assert found.value == "standalone.commands:sql"
    assert "SELECT" in CliRunner().invoke(cli, ["sql", "--help"]).stdout


def test_help_costs_no_heavy_import():
    code = "import sys, standalone.commands; print(sorted({'sqlalchemy', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
