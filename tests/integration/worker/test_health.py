"""`python -m worker.health`: what a container's health check hears."""

import os
import socket
import subprocess
import sys

import pytest
import sqlalchemy as sa

from shared import db, workers
from shared.clock import after
from shared.settings import Settings
from shared.tables import workers as table
from worker import health


def seen(engine, name="w", *, host="here", state="ready", ago_s=0.0):
    about = {"host": host, "pid": 1, "lanes": ["cpu"], "slots": 1, "state": state, "free_memory_mb": 1, "version": "0"}
    with db.write(engine) as connection:
        workers.beat(connection, name, **about)
        connection.execute(sa.update(table).where(table.c.name == name).values(seen_at=after(-ago_s)))


@pytest.mark.parametrize("state", ["ready", "draining"])
def test_a_worker_that_was_seen_is_well(engine, settings, state):
    seen(engine, state=state)

    assert health.check_worker(settings, "here") is None


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"host": "elsewhere"}, "no worker on here"),
        ({"ago_s": 31}, "no worker on here"),
        ({"state": "gone"}, "no worker on here"),
        ({"state": "warming"}, "w is warming"),
    ],
)
def test_another_hosts_worker_a_silent_one_and_one_that_still_imports_are_not(engine, settings, about, said):
    seen(engine, **about)

    assert said in health.check_worker(settings, "here")


def test_a_container_that_was_started_again_is_asked_about_its_new_worker(engine, settings):
    seen(engine, "before", ago_s=20, state="warming")
    seen(engine, "now")

    assert health.check_worker(settings, "here") is None


def ask(settings, *arguments):
    environment = {**os.environ, "FITQ_DATABASE_URL": settings.database_url, "FITQ_LEASE_S": "30"}
    command = [sys.executable, "-m", "worker.health", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_answers_with_its_status_and_a_sentence(engine, settings):
    asked = ask(settings)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.startswith(f"fitq health: no worker on {socket.gethostname()} was seen")

    seen(engine, host=socket.gethostname())
    asked = ask(settings, "worker")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


def test_control_is_well_while_its_process_is_there(settings):
    title = "import time; from setproctitle import setproctitle; setproctitle('fitq control'); print(1, flush=True)"
    with subprocess.Popen([sys.executable, "-c", f"{title}; time.sleep(60)"], stdout=subprocess.PIPE) as control:
        control.stdout.readline()
        assert ask(settings, "control").returncode == 0
        control.kill()


def test_control_without_a_process_is_not(monkeypatch, settings):
    monkeypatch.setattr(health.psutil, "process_iter", lambda _: [])

    assert health.check_control(settings) == "no process here is 'fitq control'."


@pytest.mark.parametrize("arguments", [[], ["control"]])
def test_a_database_that_is_away_is_said_in_one_sentence(monkeypatch, capsys, arguments):
    nobody = Settings(database_url="postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(health.settings, "load", lambda: nobody)
    monkeypatch.setattr(health, "_is_control", lambda _: True)

    assert health.main(arguments) == 1
    assert capsys.readouterr().err == "fitq health: the database (FITQ_DATABASE_URL) does not answer.\n"


def test_what_is_asked_must_be_known(capsys):
    assert health.main(["database"]) == 2
    assert "usage" in capsys.readouterr().err
