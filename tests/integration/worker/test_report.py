"""What the runner says reaches SQL once each, whatever the database does meanwhile."""

import contextlib
import socket
import threading
import time

import pytest
import sqlalchemy as sa

from shared import checkpoints, db, events, jobs, listing, metrics, spec, store, upkeep, wishes
from shared.checkpoints import Retention
from shared.states import Failure, State
from worker.lease import Beat, Lease
from worker.report import BATCH, WAITING, FailedWith, Reporter, Succeeded
from worker.wire import Artifact, Checkpointed, Epoch, Finished, Progress, Resumed, Started

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
}


def claim(engine, *, lease_s=30.0):
    with db.write(engine) as connection:
        jobs.submit(connection, spec.parse(TINY))
        return jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=lease_s)


def reporter(engine, attempt, volume):
    return Reporter(engine, Lease(attempt.job_id, attempt.number), retention=Retention(), volume=volume)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def history(engine, job_id):
    with db.read(engine) as connection:
        return metrics.history(connection, job_id)


def epochs_said(engine, job_id):
    with db.read(engine) as connection:
        return [one.data["epoch"] for one in events.page(connection, job_id, limit=1000) if one.type == "epoch"]


class Proxy:
    """A way to a database that can be cut, and whose answers can be lost."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.open = True
        #: The next answer to a COMMIT is swallowed, and its connection cut.
        self.lose_commit_reply = False
        self._pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(self._target)
            pair = (client, server)
            self._pairs.append(pair)
            lost = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, pair, lost, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, pair, lost, False), daemon=True).start()

    def _pump(self, source, target, pair, lost, asks):
        try:
            while data := source.recv(65536):
                if asks and self.lose_commit_reply and b"COMMIT" in data:
                    self.lose_commit_reply = False
                    lost.set()
                if not asks and lost.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        finally:
            self._cut(pair)

    @staticmethod
    def _cut(pair):
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut(self):
        self.open = False
        for pair in self._pairs:
            self._cut(pair)

    def mend(self):
        self.open = True

    def close(self):
        self.cut()
        self._listener.close()


@pytest.fixture
def proxied(postgresql_server, database_url, request):
    """An engine that goes through a proxy, and the proxy."""
    url = sa.make_url(database_url)
    if url.get_backend_name() != "postgresql":
        pytest.skip("SQLite is reached through no network")
    proxy = Proxy(url.host or "127.0.0.1", url.port or 5432)
    engine = db.connect(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))
    yield engine, proxy
    engine.dispose()
    proxy.close()


def test_epochs_appear_as_they_are_said_and_the_end_comes_last(engine, volume):
    attempt = claim(engine)
    with reporter(engine, attempt, volume) as report:
        report.put(Started({"threads": 1}))
        report.put(Resumed(0, 0))
        report.put(Epoch(0, {"loss": 1.0}))
        until(lambda: history(engine, attempt.job_id) == {"loss": [1.0]})
        report.put(Progress("training", 1, 2, 5, 10, {"loss": 0.5}))
        until(lambda: (_job(engine, attempt).progress or {}).get("step") == 5)
        report.put(Epoch(1, {"loss": 0.25}))
        assert report.end(Succeeded(Finished({"nan": float("nan")})))

    job = _job(engine, attempt)
    assert job.state == State.SUCCEEDED
    assert history(engine, attempt.job_id) == {"loss": [1.0, 0.25]}
    with db.read(engine) as connection:
        assert listing.result(connection, job.id).value == {"nan": None}


def _job(engine, attempt):
    with db.read(engine) as connection:
        return listing.get(connection, attempt.job_id)


def test_an_attempt_makes_void_what_an_earlier_one_wrote_past_its_start(engine, volume):
    attempt = claim(engine)
    with db.write(engine) as connection:
        for epoch in range(4):
            metrics.record(connection, attempt.job_id, 0, epoch, {"loss": 9.0})
    with reporter(engine, attempt, volume) as report:
        report.put(Resumed(2, 20))
        report.put(Epoch(2, {"loss": 1.0}))
        report.end(FailedWith(Failure.BAD_DATA, "No."))

    assert history(engine, attempt.job_id) == {"loss": [9.0, 9.0, 1.0]}


def test_while_the_database_is_away_nothing_is_lost_and_nothing_is_doubled(proxied, engine, volume):
    through, proxy = proxied
    attempt = claim(engine)
    with reporter(through, attempt, volume) as report:
        report.put(Epoch(0, {"loss": 0.0}))
        until(lambda: len(epochs_said(engine, attempt.job_id)) == 1)
        proxy.cut()
        for epoch in range(1, 200):
            report.put(Epoch(epoch, {"loss": float(epoch)}))
        time.sleep(1.0)
        assert len(epochs_said(engine, attempt.job_id)) == 1
        proxy.mend()
        assert report.end(Succeeded(Finished({})))

    assert epochs_said(engine, attempt.job_id) == list(range(200))
    assert history(engine, attempt.job_id)["loss"] == [float(epoch) for epoch in range(200)]


def test_a_commit_whose_answer_is_lost_is_not_written_twice(proxied, engine, volume):
    through, proxy = proxied
    attempt = claim(engine)
    with reporter(through, attempt, volume) as report:
        for epoch in range(5):
            proxy.lose_commit_reply = True
            report.put(Epoch(epoch, {"loss": float(epoch)}))
            until(lambda n=epoch: len(epochs_said(engine, attempt.job_id)) == n + 1)
            until(lambda: not proxy.lose_commit_reply)
        proxy.lose_commit_reply = True
        assert report.end(Succeeded(Finished({})))

    assert epochs_said(engine, attempt.job_id) == list(range(5))
    assert _job(engine, attempt).state == State.SUCCEEDED


def test_a_locked_sqlite_file_is_waited_for(engine, volume):
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL locks rows")
    attempt = claim(engine)
    impatient = db.connect(engine.url.render_as_string())
    sa.event.listen(impatient, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=50").close())
    with reporter(impatient, attempt, volume) as report:
        with db.write(engine):
            report.put(Epoch(0, {"loss": 1.0}))
            time.sleep(1.0)
        assert report.end(Succeeded(Finished({})))
    impatient.dispose()

    assert history(engine, attempt.job_id) == {"loss": [1.0]}


def test_a_stale_attempt_writes_nothing_and_learns_that_it_is_stale(engine, volume):
    stale = claim(engine, lease_s=-1)
    with db.write(engine) as connection:
        upkeep.expire(connection)
        fresh = jobs.claim(connection, lane="cpu", worker="w2", host="h", free_memory_mb=9999, lease_s=30)
    lease = Lease(stale.job_id, stale.number)
    with Reporter(engine, lease, retention=Retention(), volume=volume) as report:
        report.put(Epoch(0, {"loss": 666.0}))
        assert not report.end(Succeeded(Finished({})))

    assert lease.lost
    assert history(engine, stale.job_id) == {}
    assert (_job(engine, fresh).state, _job(engine, fresh).attempt) == (State.RUNNING, 2)


def test_what_waits_is_bounded(proxied, engine, volume):
    through, proxy = proxied
    attempt = claim(engine)
    proxy.cut()
    with reporter(through, attempt, volume) as report:
        said = 0
        while not report.full:
            report.put(Epoch(said, {}))
            said += 1
        assert said <= WAITING + BATCH


def test_a_beat_renews_hears_of_cancels_and_learns_of_lost_leases(engine):
    attempt = claim(engine, lease_s=1.0)
    about = {"host": "h", "pid": 1, "lanes": ["cpu"], "slots": 1, "state": "ready", "free_memory_mb": 1, "version": "0"}
    beat = Beat(engine, "w", lease_s=1.0, beat_s=0.1, about=lambda: about)
    beat.start()
    try:
        with beat.hold(attempt.job_id, 1) as lease:
            time.sleep(1.5)
            with db.write(engine) as connection:
                assert upkeep.expire(connection) == []
                wishes.cancel(connection, attempt.job_id, jobs.CancelMode.NOW)
            until(lambda: lease.wishes.cancel == jobs.CancelMode.NOW)
            with db.write(engine) as connection:
                jobs.cancelled(connection, attempt.job_id, 1)
            until(lambda: lease.lost)
    finally:
        beat.stop()


def test_of_a_file_that_is_left_again_only_the_newer_one_stays(engine, tmp_path):
    attempt = claim(engine)
    with reporter(engine, attempt, tmp_path) as reports:
        for number in (1, 2):
            path = f"{store.attempt_folder(attempt.job_id, 1)}/files/{number}.log"
            with store.writing(tmp_path, path) as file:
                file.write(b"epoch" * number)
            reports.put(Artifact("logs/run.csv", "text/csv", store.describe(tmp_path, path)))
        assert reports.end(Succeeded(Finished({})))
    with db.read(engine) as connection:
        (left,) = listing.artifacts_of(connection, attempt.job_id)
    assert (left.name, left.bytes) == ("logs/run.csv", 10)
    assert [path.name for path in tmp_path.rglob("*.log")] == ["2.log"]


def checkpoint(volume, attempt, epoch, size):
    """Write a checkpoint's file; return what a runner says of it."""
    path = store.checkpoint_path(attempt.job_id, attempt.number, f"epoch-{epoch}")
    with store.writing(volume, path) as file:
        file.write(bytes([epoch]) * size)
    step = (epoch + 1) * 10
    return Checkpointed(f"epoch-{epoch}", epoch + 1, step, store.describe(volume, path), "0" * 64, "loss", 9.0 - epoch)


def test_files_that_go_are_removed_although_the_answer_to_the_commit_was_lost(proxied, engine, volume):
    through, proxy = proxied
    attempt = claim(engine)
    with Reporter(
        through, Lease(attempt.job_id, attempt.number), retention=Retention(keep_best=0, keep_last=1), volume=volume
    ) as report:
        for epoch in range(3):
            proxy.lose_commit_reply = True
            report.put(checkpoint(volume, attempt, epoch, 10))
            until(lambda n=epoch: report._written > n and not proxy.lose_commit_reply)
        assert report.end(Succeeded(Finished({})))

    assert [path.name for path in (volume / "jobs").rglob("*.npz")] == ["epoch-2.npz"]


def test_a_job_keeps_within_what_it_may_leave_as_long_as_it_can(engine, volume):
    attempt = claim(engine)
    keep = Retention(keep_best=1, keep_last=9, most_bytes=1 << 20)
    lease = Lease(attempt.job_id, attempt.number)
    with Reporter(engine, lease, retention=keep, volume=volume) as it:
        for epoch in range(5):
            it.put(checkpoint(volume, attempt, epoch, 400_000))
            until(lambda: it._written > epoch and not it._queue.qsize())  # noqa: B023 - it waits here
        until(lambda: len(list((volume / "jobs").rglob("*.npz"))) == 2)
        assert it.over is None

        path = store.attempt_folder(attempt.job_id, attempt.number) + "/files/1.log"
        with store.writing(volume, path) as file:
            file.write(b"x" * 700_000)
        it.put(Artifact("events", "text/plain", store.describe(volume, path)))
        until(lambda: it.over)
        assert it.over == (
            "The job's newest checkpoint and its artifacts take 1.0 MB; resources.disk_mb allows 1. "
            "Ask for more, or let callbacks write less."
        )
        assert it.end(FailedWith(Failure.DISK_LIMIT, it.over))
    with db.read(engine) as connection:
        assert [one.name for one in checkpoints.listed(connection, attempt.job_id)] == ["epoch-4"]
        ended = listing.get(connection, attempt.job_id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.DISK_LIMIT), "it is not tried again"
