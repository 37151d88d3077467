"""`fitq fsck`: what rows and files disagree on is found, and mended where it is asked to; a running stack is let be."""

import json
import os
import subprocess
import sys
import threading
import time
from importlib.metadata import entry_points

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from fitq.cli import cli
from shared import checkpoints, db, jobs, spec, store, tables, upkeep, uploads, wishes
from shared.checkpoints import Retention
from shared.clock import after
from shared.states import Kind
from standalone import commands
from tests.integration.attempts import TINY, age, claim, files, pin, submit

KEEP = Retention(keep_best=1, keep_last=3)


@pytest.fixture
def fsck(settings, monkeypatch):
    """Run `fitq fsck` on the test's own database and volume; return its status and what it found."""
    monkeypatch.setenv("FITQ_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("FITQ_VOLUME", str(settings.volume_path))

    def run(*options):
        done = CliRunner().invoke(commands.fsck, ["--json", *options])
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, json.loads(done.stdout)["findings"] if done.stdout else done.stderr

    return run


@pytest.fixture
def saved(engine, volume):
    """An ended job with three checkpoints and an artifact; return it, and the paths by name."""
    job = submit(engine)
    attempt = claim(engine, volume)
    paths = {f"epoch-{epoch}": attempt.save(epoch, keep=KEEP, value=3.0 - epoch) for epoch in range(3)}
    paths["log.csv"] = attempt.leave("log.csv")
    attempt.write("log.txt")
    attempt.succeed("epoch-2")
    return job, paths


def faults(found):
    return sorted((one["fault"], one["path"], one["outcome"]) for one in found)


def names(engine, job):
    with db.read(engine) as connection:
        return [one.name for one in checkpoints.listed(connection, job)]


def test_what_agrees_is_clean(fsck, volume, saved, engine):
    uploads.take(engine, volume, [b"content"], most=100, size=None)
    claim(engine, volume)

    assert fsck() == (0, [])
    assert fsck("--fix", "--quick") == (0, [])


def test_rows_without_their_file_are_forgotten(fsck, engine, volume, saved):
    job, paths = saved
    (volume / paths["epoch-1"]).unlink()
    (volume / paths["log.csv"]).unlink()

    status, found = fsck()
    assert status == 1
    assert faults(found) == sorted(("missing", paths[name], "left") for name in ("epoch-1", "log.csv"))
    assert names(engine, job) == ["epoch-2", "epoch-1", "epoch-0"], "nothing is mended that was not asked for"

    status, found = fsck("--fix")
    assert (status, {one["outcome"] for one in found}) == (1, {"mended"})
    assert names(engine, job) == ["epoch-2", "epoch-0"]
    with db.read(engine) as connection:
        told = connection.execute(sa.text("SELECT data FROM job_events WHERE type = 'lost' ORDER BY seq")).scalars()
        assert ['"epoch-1"' in str(one).replace("'", '"') for one in told] == [True, False]
    assert fsck() == (0, [])


@pytest.mark.parametrize("damage", ["size", "content"])
def test_a_damaged_checkpoint_is_forgotten_and_its_file_goes(fsck, engine, volume, saved, damage):
    job, paths = saved
    path = volume / paths["epoch-2"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] if damage == "size" else bytes([content[0] ^ 1]) + content[1:])
    age(volume)

    assert fsck("--quick")[0] == (1 if damage == "size" else 0), "quick compares sizes alone"
    status, found = fsck("--fix")
    assert faults(found) == [("damaged", paths["epoch-2"], "mended"), ("orphan", paths["epoch-2"], "mended")]
    assert names(engine, job) == ["epoch-1", "epoch-0"]
    assert not path.exists()
    assert (status, fsck()) == (1, (0, []))


def test_a_damaged_upload_must_be_sent_again(fsck, engine, volume):
    sent = uploads.take(engine, volume, [b"content"], most=100, size=None)[0]
    path = volume / store.upload_path(sent.sha256)
    path.write_bytes(b"CONTENT")

    assert fsck("--fix")[1][0]["outcome"] == "mended"
    assert not path.exists()
    with db.read(engine) as connection:
        assert not uploads.get(connection, volume, sent.sha256).complete
    assert fsck() == (0, [])
    again, is_new = uploads.take(engine, volume, [b"content"], most=100, size=None)
    assert (again.complete, is_new) == (True, True)


def test_files_that_no_row_names_go_when_they_are_old(fsck, engine, volume, saved):
    job, paths = saved
    strays = [
        f"jobs/{job}/1/checkpoints/.epoch-9.npz.7.tmp",
        "jobs/job_unknown/1/log.txt",
        f"uploads/aa/{'a' * 64}",
        "uploads/incoming/b.part",
    ]
    for path in strays:
        (volume / path).parent.mkdir(parents=True, exist_ok=True)
        (volume / path).write_bytes(b"left")
    assert fsck() == (0, []), "they are young"
    for path in strays:
        os.utime(volume / path, (0, 0))

    _, found = fsck("--fix")
    assert faults(found) == sorted(
        ("orphan", path.replace("unknown/1/log.txt", "unknown/"), "mended") for path in strays
    )
    assert not any((volume / path).exists() for path in strays)
    assert files(volume) == {*paths.values(), f"jobs/{job}/1/log.txt"}


def test_what_a_deletion_left_goes(fsck, engine, volume, saved):
    with db.write(engine) as connection:
        wishes.delete(connection, saved[0])

    assert faults(fsck("--fix")[1]) == [("deleted", f"jobs/{saved[0]}/", "mended")]
    assert files(volume) == set()


def test_what_only_a_person_can_mend_is_said(fsck, engine, volume, saved):
    job, paths = saved
    waiting = pin(engine, job)
    (volume / paths["epoch-2"]).unlink()
    submit(engine)
    running = claim(engine, volume).job
    with db.write(engine) as connection:
        old = sa.update(tables.jobs).where(tables.jobs.c.id == running).values(lease_until=after(-3600))
        connection.execute(old)

    _, found = fsck()
    assert [(one["fault"], one["mendable"]) for one in found] == [
        ("missing", False),
        ("missing", True),
        ("lease", False),
    ]
    assert f"Job {waiting} needs it: cancel that job" in found[0]["meaning"]
    assert found[2]["path"] == running
    assert "is control running" in found[2]["meaning"]


def test_an_attempt_that_runs_is_left_alone(fsck, engine, volume):
    job = submit(engine)
    attempt = claim(engine, volume)
    gone = attempt.save(0)
    unsaid = attempt.write("checkpoints/epoch-1.npz").path
    (volume / gone).unlink()
    age(volume)

    _, found = fsck("--fix")
    assert faults(found) == [("missing", gone, "left")]
    assert files(volume) == {unsaid}
    assert names(engine, job) == ["epoch-0"]


def test_another_installations_volume_is_refused(fsck, engine, volume, saved):
    (volume / "jobs" / saved[0]).rename(volume / "jobs" / "job_other")
    age(volume)

    status, said = fsck("--fix")
    assert status == 2
    assert "set FITQ_VOLUME and FITQ_DATABASE_URL of one installation" in said
    assert len(names(engine, saved[0])) == 3
    assert len(files(volume)) == 5


def test_what_cannot_be_judged_is_status_2(fsck, volume, monkeypatch, tmp_path):
    (volume / "data").rmdir()
    assert fsck() == (2, f"fitq fsck: There is no volume at {volume}: mount it, or set FITQ_VOLUME.\n")

    monkeypatch.setenv("FITQ_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    status, said = fsck()
    assert status == 2
    assert said.startswith("fitq fsck: ")
    assert said.count("\n") == 1


def test_people_get_a_table_and_a_sentence(fsck, volume, saved):
    done = CliRunner().invoke(commands.fsck, [])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Rows and files agree: 4 files with rows")

    (volume / saved[1]["epoch-0"]).unlink()
    done = CliRunner().invoke(commands.fsck, [])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0].split() == ["fault", "path", "size", "mended", "meaning"]
    assert done.stderr.endswith("`fitq fsck --fix` mends 1 of them.\n")


def test_where_there_is_no_command_line_a_module_does_the_same(fsck, volume, saved):
    (volume / saved[1]["epoch-0"]).unlink()
    run = [sys.executable, "-m", "shared.volume", "--fix"]
    found, again = (subprocess.run(run, capture_output=True, text=True, check=False) for _ in range(2))

    assert (found.returncode, again.returncode) == (1, 0)
    assert faults(json.loads(found.stdout)["findings"]) == [("missing", saved[1]["epoch-0"], "mended")]
    assert json.loads(again.stdout)["files"] == 3


def test_it_joins_the_command_line():
    (found,) = (point for point in entry_points(group="fitq.commands") if point.name == "fsck")

    assert found.value == "standalone.commands:fsck"
    assert "--fix" in CliRunner().invoke(cli, ["fsck", "--help"]).stdout


def _train(engine, volume):
    """One attempt: it saves, retention removes, and it ends or goes back."""
    attempt = claim(engine, volume)
    if attempt is None:
        submit(engine)
        return
    for epoch in range(4):
        attempt.save(epoch, keep=Retention(keep_best=0, keep_last=1))
        attempt.leave("log.csv")
    if attempt.number < 3:
        attempt.end(jobs.release)
    else:
        attempt.succeed("epoch-3")


def _send(engine, volume):
    """An upload that is deleted at once."""
    sent = uploads.take(engine, volume, [os.urandom(8)], most=100, size=None)[0]
    with db.write(engine) as connection:
        uploads.delete(connection, volume, sent.sha256)


def _check(engine, volume):
    """An internal job, whose files go before its row."""
    with db.write(engine) as connection:
        jobs.submit(connection, spec.parse({**TINY, "resources": {"lane": "interactive"}}), kind=Kind.CHECK)
    attempt = claim(engine, volume, "interactive")
    attempt.leave("model.onnx")
    attempt.succeed(None)
    with db.write(engine) as connection:
        for gone in upkeep.prune(connection, Kind.CHECK, older_than_s=-60):
            store.remove_job(volume, gone)


def test_while_jobs_run_nothing_is_found_and_nothing_is_lost(fsck, engine, volume):
    """Attempts, uploads and internal jobs come and go, while fsck mends without a pause."""
    until = time.monotonic() + 4
    broken = []

    def repeat(part):
        try:
            while time.monotonic() < until:
                part(engine, volume)
        except Exception as error:
            broken.append(error)
            raise

    threads = [threading.Thread(target=repeat, args=(part,)) for part in (_train, _train, _train, _send, _check)]
    for thread in threads:
        thread.start()
    looked = []
    while any(thread.is_alive() for thread in threads):
        looked.append(fsck("--fix"))
    for thread in threads:
        thread.join()

    assert broken == []
    assert looked
    assert all(one == (0, []) for one in looked), looked
    assert fsck() == (0, [])
