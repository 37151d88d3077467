"""The API in this process, and a worker played by the tests."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from api import context
from api.app import create_app
from shared import attempts, checkpoints, db, events, jobs, metrics, store, workers
from shared.checkpoints import Retention
from shared.settings import Settings
from shared.states import Failure, Lane

SPEC: dict[str, Any] = {
    "kind": "train",
    "name": "digits-mlp",
    "seed": 7,
    "model": {"layers": [{"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 10}}], "input_shape": [64]},
    "data": {"train": {"dataset": "digits"}},
    "compile": {"optimizer": "adam", "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}},
    "fit": {"epochs": 3},
    "tags": {"team": "vision"},
}


@pytest.fixture
def spec() -> dict[str, Any]:
    """A spec that is right; a copy of the test's own."""
    import copy

    return copy.deepcopy(SPEC)


class Client(FlaskClient):
    """Reads each answer to its end, so that a file in it is closed."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> Any:
        return super().open(*args, buffered=buffered, **kwargs)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    app.test_client_class = Client
    yield app
    here = context.of(app)
    here.stopping.set()
    here.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass
class FakeWorker:
    """Does to the database what a worker would do."""

    engine: sa.Engine
    volume: Path
    batch: int = 0

    def ready(self, *, lanes: tuple[str, ...] = ("cpu", "interactive"), state: str = "ready") -> None:
        with db.write(self.engine) as connection:
            workers.beat(
                connection,
                "w1",
                host="here",
                pid=1,
                lanes=list(lanes),
                slots=1,
                state=state,
                free_memory_mb=9000,
                version="0",
            )

    def claim(self, lane: str = "cpu") -> jobs.Attempt | None:
        self.batch = 0
        with db.write(self.engine) as connection:
            return jobs.claim(connection, lane=lane, worker="w1", host="here", free_memory_mb=9000, lease_s=60)

    def epoch(self, attempt: jobs.Attempt, epoch: int, **values: float) -> None:
        self.batch += 1
        with db.write(self.engine) as connection:
            progress = {"phase": "fit", "epoch": epoch}
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch, progress=progress)
            metrics.record(connection, attempt.job_id, attempt.number, epoch, values)
            events.append(connection, attempt.job_id, [("epoch", {"epoch": epoch})])

    def progress(self, attempt: jobs.Attempt, **values: Any) -> None:
        self.batch += 1
        with db.write(self.engine) as connection:
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch, progress=values)

    def checkpoint(self, attempt: jobs.Attempt, name: str, content: bytes, *, step: int = 1) -> store.StoredFile:
        path = store.checkpoint_path(attempt.job_id, attempt.number, name)
        with store.writing(self.volume, path) as file:
            file.write(content)
        stored = store.describe(self.volume, path)
        self.batch += 1
        row = {"name": name, "epoch": step, "step": step, "weights_sha256": "0" * 64, "monitor": "loss", "value": 0.5}
        row |= {"path": stored.path, "bytes": stored.bytes, "sha256": stored.sha256}
        with db.write(self.engine) as connection:
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch)
            checkpoints.record(connection, attempt.job_id, attempt.number, row, greater=False, keep=Retention())
            events.append(connection, attempt.job_id, [("checkpoint", {"name": name})])
        return stored

    def artifact(self, attempt: jobs.Attempt, name: str, content: bytes, *, stored_as: str = "") -> store.StoredFile:
        """Leave an artifact in a file of that name or another one; the file that it was before is removed."""
        path = f"{store.attempt_folder(attempt.job_id, attempt.number)}/{stored_as or name}"
        with store.writing(self.volume, path) as file:
            file.write(content)
        stored = store.describe(self.volume, path)
        values = {"name": name, "path": path, "bytes": stored.bytes, "sha256": stored.sha256}
        with db.write(self.engine) as connection:
            stale = attempts.add_artifact(
                connection, attempt.job_id, attempt.number, **values, content_type="application/octet-stream"
            )
        for one in stale:
            store.remove(self.volume, one)
        return stored

    def succeed(self, attempt: jobs.Attempt, *, final: str | None = None, **value: Any) -> None:
        self.batch += 1
        with db.write(self.engine) as connection:
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch)
            jobs.succeed(
                connection,
                attempt.job_id,
                attempt.number,
                value=value,
                weights_sha256="a" * 64,
                final_checkpoint=final,
            )

    def fail(self, attempt: jobs.Attempt, code: Failure, message: str) -> None:
        self.batch += 1
        with db.write(self.engine) as connection:
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch)
            jobs.fail(connection, attempt.job_id, attempt.number, code, message)

    def cancelled(self, attempt: jobs.Attempt) -> None:
        self.batch += 1
        with db.write(self.engine) as connection:
            jobs.fence(connection, attempt.job_id, attempt.number, batch=self.batch)
            jobs.cancelled(connection, attempt.job_id, attempt.number)

    def in_background(self, lane: Lane, work: Any) -> threading.Thread:
        """Claim the next job of a lane on another thread, and do `work` with it."""

        def run() -> None:
            pause = threading.Event()
            while (attempt := self.claim(lane)) is None:
                pause.wait(0.01)
            work(attempt)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def worker(engine: sa.Engine, volume: Path) -> FakeWorker:
    return FakeWorker(engine, volume)


@pytest.fixture
def submitted(client: FlaskClient, spec: dict[str, Any]) -> str:
    """The id of a job that waits."""
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 201, answer.json
    return str(answer.json["id"])


@pytest.fixture
def address(app: Flask) -> Iterator[tuple[str, int]]:
    """The API on a real socket, for what a test client cannot show."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield "127.0.0.1", server.server_port
    context.of(app).stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()
