"""What goes when the volume holds more than it may, in which order, and what never goes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from shared import checkpoints, db, jobs, spec, store, tables, uploads, wishes
from shared.checkpoints import Retention
from shared.clock import after
from shared.errors import BadData, BadSpec
from shared.states import CancelMode, Kind
from shared.volume import eviction, usage
from tests.integration.attempts import claim, files, pin, submit
from worker.control import pruner

KEEP = Retention(keep_best=1, keep_last=9)


def used(engine):
    with db.read(engine) as connection:
        return usage.used_bytes(connection)


def evict(engine, volume, left):
    """Evict until so much is left."""
    most = round(left / (1 - eviction.FREE_PART)) + 1
    return eviction.evict(engine, volume, most_bytes=most, respite_s=-60)


def trained(engine, volume, epochs=4):
    """A job that has ended, with a checkpoint of each epoch; the second is the best."""
    job = submit(engine)
    attempt = claim(engine, volume)
    for epoch in range(epochs):
        attempt.save(epoch, keep=KEEP, value=0.0 if epoch == 1 else 1.0)
    attempt.succeed(f"epoch-{epochs - 1}")
    return job


def exported(engine, volume, job):
    """A model in another format, as an internal job has written it."""
    asked = spec.ExportSpec(model={"job": job, "checkpoint": "final"}, format="onnx")
    with db.write(engine) as connection:
        jobs.submit(connection, asked, kind=Kind.EXPORT)
    attempt = claim(engine, volume)
    attempt.leave("model.onnx", b"o" * 500)
    attempt.succeed(None)
    return attempt.job


def send(engine, volume, content):
    return uploads.take(engine, volume, [content], most=10_000, size=None)[0].sha256


def names(engine, job):
    with db.read(engine) as connection:
        return sorted(one.name for one in checkpoints.listed(connection, job))


def test_of_an_ended_job_what_it_saved_before_its_last_validation_may_go(engine, volume):
    job = submit(engine)
    attempt = claim(engine, volume)
    attempt.save_before_validation(0, keep=KEEP)
    attempt.save(0, keep=KEEP)
    attempt.succeed("epoch-0")
    assert names(engine, job) == ["epoch-0", "step-10"]
    evict(engine, volume, 1)
    assert names(engine, job) == ["epoch-0"]


def test_exports_go_first_then_uploads_then_checkpoints_the_oldest_first(engine, volume):
    first, second = trained(engine, volume), trained(engine, volume)
    export = exported(engine, volume, first)
    old, new = send(engine, volume, b"1" * 1000), send(engine, volume, b"2" * 1000)
    least = used(engine) - 500 - 2000

    evict(engine, volume, least + 2000)
    assert not any(export in path for path in files(volume))
    assert used(engine) == least + 2000
    evict(engine, volume, least)
    assert not any((volume / store.upload_path(one)).exists() for one in (old, new))
    evict(engine, volume, least - 1)
    assert names(engine, first) == ["epoch-1", "epoch-3"], "the best, and the final one"
    assert names(engine, second) == ["epoch-0", "epoch-1", "epoch-2", "epoch-3"]
    before, left = evict(engine, volume, 1)
    assert names(engine, second) == ["epoch-1", "epoch-3"]
    assert left == used(engine) < before
    assert evict(engine, volume, 1) == (left, left), "nothing more may go"
    assert len(files(volume)) == 4


def test_nothing_goes_while_a_tenth_is_free_nor_within_the_hour(engine, volume):
    trained(engine, volume)
    send(engine, volume, b"1" * 1000)
    before = used(engine)

    assert evict(engine, volume, before) == (before, before)
    pruner.evict(engine, volume, most_bytes=10)
    pruner.evict(engine, volume, most_bytes=None)
    assert used(engine) == before


def test_what_waiting_and_running_jobs_need_stays(engine, volume):
    job = trained(engine, volume)
    needed = send(engine, volume, b"1" * 1000)
    submit(engine, data={"train": {"npz": f"sha256:{needed}"}})
    pin(engine, job, 0)
    submit(engine, priority=10)
    running = claim(engine, volume)
    for epoch in range(3):
        running.save(epoch, keep=KEEP)

    evict(engine, volume, 1)
    assert names(engine, job) == ["epoch-0", "epoch-1", "epoch-3"]
    assert names(engine, running.job) == ["epoch-0", "epoch-1", "epoch-2"]
    assert (volume / store.upload_path(needed)).exists()


def test_of_an_eviction_and_a_submit_at_once_one_wins(engine, volume):
    at_once = threading.Barrier(2)

    def go():
        at_once.wait()
        evict(engine, volume, 1)

    for number in range(6):
        job, sha256 = trained(engine, volume, 3), send(engine, volume, b"%d" % number)
        data = {"train": {"npz": f"sha256:{sha256}"}}
        model = {"job": job, "checkpoint": 0}
        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(go)
            at_once.wait()
            try:
                waiting = submit(engine, model=model, data=data, resources={"lane": "gpu"})
            except (BadData, BadSpec):
                waiting = None
            going.result()
        if waiting:
            assert names(engine, job) == ["epoch-0", "epoch-1", "epoch-2"]
            assert (volume / store.upload_path(sha256)).exists()
            with db.write(engine) as connection:
                wishes.cancel(connection, waiting, CancelMode.NOW)
        else:
            evict(engine, volume, 1)
            assert names(engine, job) == ["epoch-1", "epoch-2"]


def test_what_an_operator_must_do_is_said(engine, volume, capfd):
    trained(engine, volume)
    with db.write(engine) as connection:
        connection.execute(sa.update(tables.jobs).values(finished_at=after(-7200)))
    pruner.evict(engine, volume, most_bytes=10)

    said = capfd.readouterr().err
    assert "evicted" in said
    assert "delete jobs" in said
