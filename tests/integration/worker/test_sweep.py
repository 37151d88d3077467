"""The sweep: what lost attempts and deleted jobs left goes, and nothing that anybody needs."""

import random
import threading
import time

import pytest
import sqlalchemy as sa

from shared import db, jobs, store, tables, upkeep, wishes
from shared.checkpoints import Retention
from shared.errors import BadSpec, Conflict, LeaseLost
from shared.states import CancelMode
from shared.volume import eviction, fsck, leftovers
from shared.volume.findings import Fault
from tests.integration.attempts import KEEP, age, claim, files, pin, submit
from worker.control import pruner

#: Every file is old enough.
NOW = -60.0


def lose(engine, attempt):
    """Let an attempt's lease expire, and the reaper take its job back."""
    with db.write(engine) as connection:
        expired = sa.update(tables.jobs).where(tables.jobs.c.id == attempt.job)
        connection.execute(expired.values(lease_until=tables.jobs.c.created_at))
        assert upkeep.expire(connection) == [(attempt.job, "cpu")]


def test_a_lost_attempts_files_go_after_a_grace_and_what_rows_name_stays(engine, volume):
    submit(engine)
    lost = claim(engine, volume)
    kept = {lost.save(0), lost.leave("log.csv"), lost.write("log.txt").path}
    unsaid = {lost.write("checkpoints/epoch-1.npz").path, lost.write("checkpoints/.epoch-2.npz.7.tmp").path}
    lose(engine, lost)

    assert pruner.sweep(engine, volume) == 0, "they are young"
    age(volume)
    assert pruner.sweep(engine, volume) == 2
    assert files(volume) == kept
    assert unsaid.isdisjoint(files(volume))


def test_an_attempt_that_runs_is_left_alone_however_old_its_files_are(engine, volume):
    submit(engine)
    lost = claim(engine, volume)
    old = lost.write("checkpoints/epoch-0.npz").path
    lose(engine, lost)
    running = claim(engine, volume)
    unsaid = running.write("checkpoints/.epoch-0.npz.7.tmp").path
    age(volume)

    assert pruner.sweep(engine, volume) == 1
    assert files(volume) == {unsaid}
    assert old != unsaid


def test_what_callbacks_wrote_stays_while_a_checkpoint_tells_of_it(engine, volume):
    job = submit(engine)
    first = claim(engine, volume)
    first.save(0)
    log = first.write("files/1.log").path
    first.end()
    age(volume)
    assert pruner.sweep(engine, volume) == 0, "the next attempt goes on with it"

    second = claim(engine, volume)
    second.save(1)
    waiting = pin(engine, job)
    second.succeed("epoch-1")
    age(volume)
    assert pruner.sweep(engine, volume) == 1, "no checkpoint of the first attempt is kept"
    assert log not in files(volume)
    assert waiting


def test_a_pinned_file_without_a_row_stays_until_the_job_that_needs_it_has_ended(engine, volume):
    job = submit(engine)
    first = claim(engine, volume)
    pinned = first.save(0)
    first.end()
    waiting = pin(engine, job)
    second = claim(engine, volume)
    again = second.save(0)
    second.succeed()
    age(volume)

    assert pruner.sweep(engine, volume) == 0
    assert files(volume) == {pinned, again}
    with db.write(engine) as connection:
        wishes.cancel(connection, waiting, CancelMode.NOW)
    assert pruner.sweep(engine, volume) == 1
    assert files(volume) == {again}
    with pytest.raises(Conflict, match="was removed meanwhile"), db.write(engine) as connection:
        wishes.retry(connection, waiting)


def test_a_deletion_that_broke_off_is_finished_later(engine, volume, monkeypatch):
    job = submit(engine)
    attempt = claim(engine, volume)
    attempt.save(0)
    attempt.succeed()
    with db.write(engine) as connection:
        wishes.delete(connection, job)
    # The API died between its commit and the files.
    assert files(volume)

    def broken(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(leftovers.shutil, "rmtree", broken)
        assert pruner.sweep(engine, volume) == 0, "said in the log, tried again"
    assert pruner.sweep(engine, volume) == 1
    assert not (volume / "jobs" / job).exists()


def test_folders_of_jobs_that_the_database_does_not_know_stay(engine, volume):
    (volume / "jobs" / "job_other" / "1").mkdir(parents=True)
    (volume / "jobs" / "job_other" / "1" / "log.txt").touch()
    age(volume)

    assert pruner.sweep(engine, volume) == 0
    assert len(files(volume)) == 1


def test_links_are_removed_and_not_followed(engine, volume, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    submit(engine)
    attempt = claim(engine, volume)
    attempt.save(0)
    folder = volume / "jobs" / attempt.job / "1"
    (folder / "link").symlink_to(tmp_path / "precious")
    attempt.end()

    assert pruner.sweep(engine, volume, grace_s=NOW) == 1
    assert not (folder / "link").is_symlink()
    assert (tmp_path / "precious" / "file").exists()


def test_without_a_volume_nothing_is_looked_for(engine, tmp_path):
    assert pruner.sweep(engine, tmp_path / "unmounted") == 0


class Storm:
    """All at once: attempts, submits that pin, ends, deletions, retries; sweeps, fsck, evictions without a grace."""

    def __init__(self, engine, volume, *, times, most_s):
        self.engine, self.volume, self.times = engine, volume, times
        self.until = time.monotonic() + most_s
        self.wrong = []
        self.did = dict.fromkeys(("saved", "pinned", "read", "swept", "mended", "evicted", "deleted", "retried"), 0)

    def run(self):
        parts = [self.train, self.train, self.use, self.meddle, self.sweep, self.sweep, self.mend, self.evict]
        threads = [threading.Thread(target=self._until, args=(part, number)) for number, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _goes_on(self):
        """Until each thing has happened so many times."""
        return min(self.did.values()) < self.times and time.monotonic() < self.until and not self.wrong

    def _until(self, part, seed):
        chance = random.Random(seed)
        while self._goes_on():
            try:
                part(chance)
            except (BadSpec, Conflict, LeaseLost):
                continue
            except Exception as error:
                self.wrong.append(repr(error))
                raise

    def train(self, chance):
        if chance.random() < 0.3:
            submit(self.engine)
        attempt = claim(self.engine, self.volume)
        if attempt is None:
            return
        attempt.write("checkpoints/.unfinished.tmp")
        keep = chance.choice([KEEP, Retention(keep_best=1, keep_last=3)])
        for epoch in range(chance.randrange(4)):
            attempt.write(f"files/{epoch}.log")
            attempt.save(epoch, keep=keep, value=float(epoch))
            self.did["saved"] += 1
        chance.choice([attempt.succeed, attempt.end, attempt.end, lambda: attempt.end(jobs.cancelled)])()

    def use(self, chance):
        """Pin a checkpoint, and run the job that needs it: its file must be there, whole."""
        job = self._any(chance, "kind = 'train'")
        if job:
            pin(self.engine, job, chance.choice(["last", 0, 1, 2]))
            self.did["pinned"] += 1
        if chance.random() < 0.5 and (needing := claim(self.engine, self.volume, "interactive")):
            query = sa.select(tables.jobs.c.source).where(tables.jobs.c.id == needing.job)
            with db.read(self.engine) as connection:
                file = store.StoredFile(**connection.execute(query).scalar_one()["file"])
            store.verify(self.volume, file)
            self.did["read"] += 1
            needing.end(jobs.cancelled) if chance.random() < 0.5 else needing.succeed(None)

    def meddle(self, chance):
        what = chance.choice([wishes.delete, wishes.retry])
        job = self._any(chance, "state IN ('cancelled', 'succeeded')")
        if not job:
            return
        with db.write(self.engine) as connection:
            what(connection, job)
        if what is wishes.delete:
            self.did["deleted"] += 1
            if chance.random() < 0.5:
                store.remove_job(self.volume, job)
        else:
            self.did["retried"] += 1

    def sweep(self, chance):
        self.did["swept"] += pruner.sweep(self.engine, self.volume, grace_s=NOW)

    def mend(self, chance):
        looking = fsck.find(self.engine, self.volume, quick=False, lease_s=600, seen=lambda _: None, grace_s=NOW)
        for found in looking:
            assert found.fault in {Fault.ORPHAN, Fault.DELETED}, found
            self.did["mended"] += found.mend()

    def evict(self, chance):
        before, after = eviction.evict(self.engine, self.volume, most_bytes=1, respite_s=NOW)
        self.did["evicted"] += after < before

    def _any(self, chance, where):
        with db.read(self.engine) as connection:
            found = connection.execute(sa.text(f"SELECT id FROM jobs WHERE {where} ORDER BY id")).scalars().all()
        return chance.choice(found[-20:]) if found else None


def test_whatever_happens_at_once_nothing_goes_that_a_job_needs(engine, volume):
    storm = Storm(engine, volume, times=5, most_s=90)
    storm.run()

    assert storm.wrong == []
    assert min(storm.did.values()) >= storm.times, storm.did
    with db.read(engine) as connection:
        rows = connection.execute(sa.select(tables.checkpoints.c.path, tables.checkpoints.c.sha256)).all()
        waiting = connection.execute(
            sa.text("SELECT count(*) FROM jobs WHERE source IS NOT NULL AND state = 'queued'")
        ).scalar_one()
    assert rows
    for path, sha256 in rows:
        assert store.describe(volume, path).sha256 == sha256
    for _ in range(waiting):
        needing = claim(engine, volume, "interactive")
        query = sa.select(tables.jobs.c.source).where(tables.jobs.c.id == needing.job)
        with db.read(engine) as connection:
            store.verify(volume, store.StoredFile(**connection.execute(query).scalar_one()["file"]))
