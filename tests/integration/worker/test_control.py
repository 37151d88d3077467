"""The control loops: what they heal, and what they leave alone."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from shared import broker, db, jobs, listing, spec, store, uploads, wishes, workers
from shared.errors import BadData, NotFound
from shared.states import Kind, State
from shared.tables import jobs as table
from shared.tables import uploads as uploads_table
from worker.control import bell, pruner, reaper

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}


class Rings(broker.Bell):
    """A bell that counts."""

    def __init__(self):
        self.rung = []

    def ring(self, lane):
        self.rung.append(lane)


def submit(engine, lane="cpu", kind=None):
    parsed = spec.parse({**TINY, "resources": {"lane": lane}})
    with db.write(engine) as connection:
        return jobs.submit(connection, parsed, kind=kind).job_id


def claim(engine, lease_s):
    with db.write(engine) as connection:
        return jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=lease_s)


def worker(engine, name="w", *, lanes=("cpu", "interactive"), slots=2, state="ready"):
    about = {"host": "h", "pid": 1, "lanes": list(lanes), "slots": slots, "state": state, "free_memory_mb": 1}
    with db.write(engine) as connection:
        workers.beat(connection, name, version="0", **about)


def state(engine, job_id):
    with db.read(engine) as connection:
        return listing.get(connection, job_id).state


def rings(engine):
    rung = Rings()
    bell.ring_for_waiting(engine, rung, lease_s=30, older_than_s=-60)
    return sorted(rung.rung)


def test_a_lost_bell_is_rung_again_once_for_each_worker_while_a_slot_is_free(engine):
    for _ in range(4):
        submit(engine)
    submit(engine, "interactive")
    submit(engine, "gpu")
    assert rings(engine) == [], "nobody is there to hear it"

    worker(engine, slots=2)
    assert rings(engine) == ["cpu", "interactive"]
    claim(engine, 30)
    assert rings(engine) == ["cpu", "interactive"]
    claim(engine, 30)
    assert rings(engine) == ["interactive"], "no slot is free"
    worker(engine, "another", slots=1)
    assert rings(engine) == ["cpu", "cpu", "interactive", "interactive"], "not the busy one alone"


def test_what_runs_on_workers_that_leave_takes_no_slot_of_those_that_stay(engine):
    for _ in range(3):
        submit(engine)
    worker(engine, slots=2)
    claim(engine, 30)
    claim(engine, 30)
    worker(engine, slots=2, state="draining")
    worker(engine, "another", slots=1, lanes=["cpu"])
    assert rings(engine) == ["cpu"]


def test_a_fresh_job_is_left_to_its_own_bell_and_a_warming_worker_to_its_imports(engine):
    submit(engine)
    worker(engine, state="warming")
    assert rings(engine) == []

    worker(engine)
    rung = Rings()
    assert bell.ring_for_waiting(engine, rung, lease_s=30) == 0


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    moment = [1000.0]
    monkeypatch.setattr(reaper, "boot_clock", lambda: moment[0])
    return moment


def test_the_reaper_grants_a_leases_time_when_it_starts_and_reaps_then(engine, clock):
    job_id = submit(engine)
    claim(engine, lease_s=-1)
    rung = Rings()
    reaps = reaper.Reaper(engine, rung, lease_s=30, every_s=5)

    for _ in range(6):
        assert reaps.round() == []
        clock[0] += 5
    assert reaps.round() == [(job_id, "cpu")]
    assert rung.rung == ["cpu"]
    assert state(engine, job_id) == State.QUEUED


@pytest.mark.parametrize("trouble", ["late", "outage"])
def test_a_reaper_that_was_late_or_without_a_database_grants_it_again(engine, clock, trouble):
    job_id = submit(engine)
    reaps = reaper.Reaper(engine, Rings(), lease_s=30, every_s=5)
    for _ in range(8):
        reaps.round()
        clock[0] += 5
    claim(engine, lease_s=-1)

    if trouble == "late":
        clock[0] += 600
    else:
        reaps.forgive()
    for _ in range(6):
        assert reaps.round() == []
        clock[0] += 5
    assert reaps.round() == [(job_id, "cpu")]


def test_two_reapers_take_a_job_back_once(engine, clock):
    submit(engine)
    attempt = claim(engine, lease_s=-1)
    both = [reaper.Reaper(engine, Rings(), lease_s=1, every_s=5) for _ in range(2)]
    for one in both:
        one.round()
    clock[0] += 2
    taken = [one.round() for one in both]

    assert sorted(map(len, taken)) == [0, 1]
    with db.read(engine) as connection:
        assert len(listing.tries(connection, attempt.job_id)) == 1


def test_the_pruner_forgets_old_checks_with_their_files_and_leaves_jobs_alone(engine, volume):
    check, export, job_id = submit(engine, kind=Kind.CHECK), submit(engine, kind=Kind.EXPORT), submit(engine)
    with db.write(engine) as connection:
        for one in (check, export):
            wishes.cancel(connection, one, jobs.CancelMode.NOW)
        ended = table.c.finished_at.is_not(None)
        connection.execute(sa.update(table).where(ended).values(finished_at=_long_ago(connection)))
    for one in (check, export, job_id):
        (volume / "jobs" / one / "1").mkdir(parents=True)
    pruner.prune(engine, volume)

    assert state(engine, job_id) == State.QUEUED
    with pytest.raises(NotFound):
        state(engine, check)
    assert {one.name for one in (volume / "jobs").iterdir()} == {export, job_id}, "an export is kept for a day"
    with db.write(engine) as connection:
        connection.execute(sa.update(table).where(ended).values(finished_at=_long_ago(connection, 90_000)))
    pruner.prune(engine, volume)
    assert [one.name for one in (volume / "jobs").iterdir()] == [job_id]


def _long_ago(connection, seconds=7200):
    from shared.clock import after

    return connection.execute(sa.select(after(-seconds))).scalar_one()


def upload(engine, volume, content, **changes):
    """Send a content at once; change its row."""
    sent = uploads.take(engine, volume, [content], most=100, size=None)[0]
    with db.write(engine) as connection:
        change = sa.update(uploads_table).where(uploads_table.c.sha256 == sent.sha256)
        connection.execute(change.values(seen_at=_long_ago(connection), **changes))
    return sent.sha256


def submit_with(engine, *sha256):
    sources = {"train": {"npz": f"sha256:{sha256[0]}"}, "validation": {"npz": f"sha256:{sha256[-1]}"}}
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse({**TINY, "data": sources})).job_id


def test_the_pruner_deletes_uploads_that_nobody_needs_any_more(engine, volume):
    needed, used, old, unused = (upload(engine, volume, content) for content in (b"1", b"2", b"3", b"4"))
    waiting, recent, ended = submit_with(engine, needed, used), submit_with(engine, used), submit_with(engine, old)
    with db.write(engine) as connection:
        for one in (recent, ended):
            wishes.cancel(connection, one, jobs.CancelMode.NOW)
        connection.execute(sa.update(table).where(table.c.id == ended).values(finished_at=_long_ago(connection)))
        connection.execute(sa.update(uploads_table).values(seen_at=_long_ago(connection)))
    fresh = uploads.take(engine, volume, [b"5"], most=100, size=None)[0].sha256

    pruner.prune_uploads(engine, volume, keep_s=3600)

    kept = sorted([needed, used, fresh])
    assert sorted(path.name for path in (volume / "uploads").glob("*/*")) == kept
    with db.read(engine) as connection:
        assert sorted(one.sha256 for one in uploads.page(connection, volume, before=None, limit=9)) == kept
    assert state(engine, waiting) == State.QUEUED
    assert unused not in kept


def test_the_pruner_removes_files_that_no_row_names(engine, volume):
    kept = upload(engine, volume, b"1")
    begun = uploads.begin(engine, volume, sha256="b" * 64, size=5, name=None).sha256
    stray, part, unnamed, alive = (
        volume / "uploads" / name
        for name in (f"aa/{'a' * 64}", f"cc/{'c' * 64}.part", "incoming/x.part", "incoming/y.part")
    )
    for path in (stray, part, unnamed, alive):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    for path in (volume / "uploads").glob("*/*"):
        if path != alive:
            os.utime(path, (0, 0))

    pruner.prune_uploads(engine, volume, keep_s=86_400)

    left = sorted(path.name for path in (volume / "uploads").glob("*/*"))
    assert left == sorted([kept, f"{begun}.part", "y.part"])
    with db.read(engine) as connection:
        assert len(uploads.page(connection, volume, before=None, limit=9)) == 2


def test_of_a_pruner_and_a_submit_at_once_one_wins(engine, volume):
    at_once = threading.Barrier(2)

    def prune():
        at_once.wait()
        pruner.prune_uploads(engine, volume, keep_s=3600)

    for number in range(8):
        sha256 = upload(engine, volume, b"%d" % number)
        with ThreadPoolExecutor(1) as pool:
            pruning = pool.submit(prune)
            at_once.wait()
            try:
                submit_with(engine, sha256)
                taken = True
            except BadData:
                taken = False
            pruning.result()
        assert (volume / store.upload_path(sha256)).exists() == taken


def test_a_bell_that_nobody_takes_costs_its_ringer_nothing(settings):
    rung = broker.Bell(broker.make_app(settings))
    for _ in range(2000):
        rung.ring("cpu")

    assert not rung.ring_now("cpu")
