"""Databases on disks that are full or read-only: nothing is lost or broken, and all goes on when there is room."""

import shutil

import sqlalchemy as sa

from api import context
from api.app import create_app
from shared import db, jobs, migrate, spec, store
from shared.checkpoints import Retention
from shared.settings import Settings
from tests.e2e.backends import Cluster
from tests.integration.faults.mounts import full, in_own_mounts, remount, small_disk
from worker.lease import Lease
from worker.report import Reporter, Succeeded
from worker.wire import Epoch, Finished


class Disk:
    """The API and a reporter of a running attempt, on a database whose disk has little room."""

    def __init__(self, url, tmp_path):
        volume = tmp_path / "volume"
        store.prepare(volume)
        self.app = create_app(Settings(home=tmp_path / "h", database_url=url, volume=volume, broker_url="memory://"))
        self.client = self.app.test_client()
        self.engine = context.of(self.app).engine
        self.volume = volume

    def close(self):
        self.engine.dispose()

    def count(self):
        with db.read(self.engine) as connection:
            return connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar_one()

    def submit_until_refused(self, tiny):
        """Submit jobs until one is refused; return how many were taken, and the refusal."""
        for taken in range(3000):
            answer = self.client.post("/v1/jobs", json={**tiny, "name": "n" * 200})
            if answer.status_code != 201:
                return taken, answer
        raise AssertionError("the disk never filled up")

    def claim(self, tiny):
        with db.write(self.engine) as connection:
            jobs.submit(connection, spec.parse({**tiny, "priority": 100}))
            return jobs.claim(connection, lane="cpu", worker="w", host="h", free_memory_mb=9999, lease_s=600)


def assert_survives(disk, folder, tiny):
    attempt = disk.claim(tiny)
    lease = Lease(attempt.job_id, attempt.number)
    with Reporter(disk.engine, lease, retention=Retention(), volume=disk.volume) as report:
        report.put(Epoch(0, {"loss": 1.0}))
        before = disk.count()
        with full(folder):
            taken, refusal = disk.submit_until_refused(tiny)
            assert refusal.status_code == 503
            assert refusal.headers["Retry-After"]
            assert "disk is full" in refusal.json["detail"]
            assert disk.count() == before + taken
            for epoch in range(1, 2000):
                report.put(Epoch(epoch, {"loss": 1.0}))
            assert disk.client.get(f"/v1/jobs/{attempt.job_id}").json["state"] == "running"

        answer = disk.client.post("/v1/jobs", json=tiny)
        assert answer.status_code == 201, answer.json
        assert report.end(Succeeded(Finished({})))
    with db.read(disk.engine) as connection:
        epochs = sa.text("SELECT count(*), count(DISTINCT epoch) FROM epoch_metrics WHERE job_id = :id")
        assert connection.execute(epochs, {"id": attempt.job_id}).one() == (2000, 2000)
    assert disk.client.get(f"/v1/jobs/{attempt.job_id}").json["state"] == "succeeded"


def test_sqlite_on_a_full_disk(sqlite_template, tmp_path, tiny):
    def test():
        folder = small_disk(tmp_path / "disk", "6m")
        shutil.copy(sqlite_template, folder / "fitq.db")
        disk = Disk(f"sqlite:///{folder}/fitq.db", tmp_path)
        assert_survives(disk, folder, tiny)
        with db.read(disk.engine) as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        disk.close()

    in_own_mounts(test)


def test_postgresql_on_a_full_disk(tmp_path, tiny):
    def test():
        cluster = Cluster()
        try:
            folder = small_disk(cluster.folder / "small", "24m")
            url = cluster.database_in(folder)
            migrate.upgrade(url)
            disk = Disk(url, tmp_path)
            assert_survives(disk, folder, tiny)
            disk.close()
        finally:
            cluster.close()

    in_own_mounts(test)


def test_sqlite_on_a_disk_that_becomes_read_only(sqlite_template, tmp_path, tiny):
    def test():
        folder = small_disk(tmp_path / "disk", "6m")
        shutil.copy(sqlite_template, folder / "fitq.db")
        disk = Disk(f"sqlite:///{folder}/fitq.db", tmp_path)
        attempt = disk.claim(tiny)
        with Reporter(disk.engine, Lease(attempt.job_id, 1), retention=Retention(), volume=disk.volume) as report:
            disk.close()
            remount(folder, "ro")
            answer = disk.client.post("/v1/jobs", json=tiny)
            assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
            report.put(Epoch(0, {"loss": 1.0}))
            disk.close()
            remount(folder, "rw")
            assert report.end(Succeeded(Finished({})))
        assert disk.client.post("/v1/jobs", json=tiny).status_code == 201
        disk.close()

    in_own_mounts(test)
