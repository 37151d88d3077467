"""The client against the real API on a socket, and a worker played through `shared`."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.serving import make_server

import fitq
from api import context
from api.app import create_app
from fitq import follow
from shared import attempts, checkpoints, db, events, jobs, metrics, store
from shared.checkpoints import Retention
from shared.settings import Settings
from shared.states import Failure


@pytest.fixture
def spec() -> dict[str, Any]:
    return {
        "kind": "train",
        "name": "digits-mlp",
        "seed": 7,
        "model": {"layers": [{"Dense": {"units": 10}}], "input_shape": [64]},
        "data": {"train": {"dataset": "digits"}},
        "compile": {"optimizer": "adam", "loss": "mse"},
        "fit": {"epochs": 3},
        "tags": {"team": "vision"},
    }


@pytest.fixture
def app(settings: Settings):
    # A bell that rings in memory: it logs nothing to the streams that the command line's tests capture.
    app = create_app(settings.model_copy(update={"broker_url": "memory://"}))
    yield app
    here = context.of(app)
    here.stopping.set()
    # A request that is being answered still has a connection, which nobody would close after this.
    deadline = time.monotonic() + 10
    while here.engine.pool.checkedout() and time.monotonic() < deadline:
        time.sleep(0.01)
    here.engine.dispose()


@pytest.fixture
def url(app, monkeypatch) -> Iterator[str]:
    """The API's address, which FITQ_URL names as well."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("FITQ_URL", address)
    monkeypatch.delenv("FITQ_API_KEY", raising=False)
    monkeypatch.setattr(follow, "LOOK_S", 0.1)
    yield address
    context.of(app).stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def queue(url: str) -> Iterator[fitq.Queue]:
    with fitq.connect() as queue:
        yield queue


class PlayedWorker:
    """Does to the database what a worker's attempt would do."""

    def __init__(self, engine: sa.Engine, volume) -> None:
        self.engine = engine
        self.volume = volume
        self.attempt = None
        self.batch = 0

    def claim(self) -> None:
        with db.write(self.engine) as connection:
            self.attempt = jobs.claim(connection, lane="cpu", worker="w1", host="here", free_memory_mb=9000, lease_s=60)
        assert self.attempt is not None
        self.batch = 0

    def _fence(self, connection, **values) -> tuple[str, int]:
        self.batch += 1
        jobs.fence(connection, self.attempt.job_id, self.attempt.number, batch=self.batch, **values)
        return self.attempt.job_id, self.attempt.number

    def progress(self, **values) -> None:
        with db.write(self.engine) as connection:
            self._fence(connection, progress=values)

    def resume(self, epoch: int) -> None:
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            metrics.delete_from(connection, job_id, epoch)
            attempts.resumed(connection, job_id, attempt, epoch)
            data = {"attempt": attempt, "epoch": epoch, "step": epoch * 10, "skipped": []}
            events.append(connection, job_id, [("resumed", data)])

    def epoch(self, epoch: int, **values: float) -> None:
        finite = {name: value if value == value else None for name, value in values.items()}  # noqa: PLR0124 - NaN
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            metrics.record(connection, job_id, attempt, epoch, values)
            events.append(connection, job_id, [("epoch", {"epoch": epoch, "attempt": attempt, "metrics": finite})])

    def checkpoint(self, name: str, content: bytes) -> None:
        path = store.checkpoint_path(self.attempt.job_id, self.attempt.number, name)
        with store.writing(self.volume, path) as file:
            file.write(content)
        stored = store.describe(self.volume, path)
        row = {"name": name, "epoch": 1, "step": 10, "weights_sha256": "0" * 64, "monitor": "loss", "value": 0.5}
        row |= {"path": stored.path, "bytes": stored.bytes, "sha256": stored.sha256}
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            checkpoints.record(connection, job_id, attempt, row, greater=False, keep=Retention())

    def artifact(self, name: str, content: bytes, *, stored_as: str) -> None:
        """Leave an artifact in a file of its own; the file that it was before is removed."""
        path = f"{store.attempt_folder(self.attempt.job_id, self.attempt.number)}/{stored_as}"
        with store.writing(self.volume, path) as file:
            file.write(content)
        stored = store.describe(self.volume, path)
        values = {"name": name, "path": path, "bytes": stored.bytes, "sha256": stored.sha256}
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            stale = attempts.add_artifact(connection, job_id, attempt, **values, content_type="text/csv")
        for one in stale:
            store.remove(self.volume, one)

    def log(self, text: str) -> None:
        path = self.volume / store.log_path(self.attempt.job_id, self.attempt.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def succeed(self, **value: Any) -> None:
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            jobs.succeed(connection, job_id, attempt, value=value, weights_sha256=None, final_checkpoint=None)

    def fail(self, code: Failure, message: str) -> None:
        with db.write(self.engine) as connection:
            job_id, attempt = self._fence(connection)
            jobs.fail(connection, job_id, attempt, code, message)

    def cancelled(self) -> None:
        with db.write(self.engine) as connection:
            jobs.cancelled(connection, *self._fence(connection))


@pytest.fixture
def worker(engine: sa.Engine, volume) -> PlayedWorker:
    return PlayedWorker(engine, volume)
