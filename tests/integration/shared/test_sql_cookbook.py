"""Every query of docs/sql.md, asked of a small history made by hand, on both databases.

A query belongs to the heading above it; one without an expected answer in ANSWERS fails.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared import db, readonly, tables, views
from standalone import sql

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sql.md"

#: Mondays of three weeks.
FIRST, SECOND, THIRD = (datetime(2026, 3, day, 8, tzinfo=UTC) for day in (2, 9, 16))


def seconds(value):
    return timedelta(seconds=value)


class History:
    """Writes rows as the application would have left them."""

    def __init__(self, connection):
        self.connection = connection
        self.now = datetime.now(UTC)
        self.ids = {}

    def add(self, table, **values):
        self.connection.execute(sa.insert(table).values(**values))

    def job(self, name, kind="train", *, at, state="succeeded", spec=None, lane="cpu", tags=None, source=None, **more):
        """A job, and the attempts, metrics and result that `more` tells of."""
        job_id = self.ids[name] = f"job_{len(self.ids) + 1:02}"
        attempts, metrics, result = more.pop("attempts", ()), more.pop("metrics", {}), more.pop("result", None)
        last = attempts[-1] if attempts else None
        ended = state in {"succeeded", "failed", "cancelled"}
        finished = (at + seconds(last[3]) if last else at + seconds(1)) if ended else None
        row = {"priority": 0, "seed": 7, "memory_mb": 2048, "retries": 3, **more, "name": more.get("name", name)}
        self.add(
            tables.jobs,
            **row,
            id=job_id,
            kind=kind,
            state=state,
            spec=spec or {},
            lane=lane,
            rank=at.timestamp() - 600 * row["priority"],
            attempt=len(attempts),
            worker=last[0] if last else None,
            lease_until=self.now + seconds(30) if state == "running" else None,
            error_code=last[5] if last and state == "failed" else None,
            created_at=at,
            queued_at=at,
            available_at=at,
            started_at=at + seconds(attempts[0][1]) if attempts else None,
            finished_at=finished,
        )
        for key, value in (tags or {}).items():
            self.add(tables.job_tags, job_id=job_id, key=key, value=value)
        if source:
            job, checkpoint = source
            self.add(
                tables.job_inputs,
                job_id=job_id,
                role="model",
                source_job_id=self.ids[job],
                checkpoint=checkpoint,
                sha256="5" * 64,
            )
        for number, one in enumerate(attempts, 1):
            self.attempt(job_id, number, at, *one)
        for metric, values in metrics.items():
            for epoch, value in enumerate(values):
                self.metric(job_id, epoch, metric, value, finished or at)
        if result is not None:
            weights = result.pop("weights", None)
            self.add(
                tables.results,
                job_id=job_id,
                attempt=len(attempts),
                value=result,
                weights_sha256=weights,
                created_at=finished,
            )

    def attempt(self, job_id, number, at, worker, claimed, running, ended, outcome, error=None):
        self.add(
            tables.attempts,
            job_id=job_id,
            attempt=number,
            worker=worker,
            host=f"{worker}.example",
            started_at=at + seconds(claimed),
            running_at=at + seconds(running),
            ended_at=None if ended is None else at + seconds(ended),
            outcome=outcome,
            error_code=error,
        )

    def metric(self, job_id, epoch, name, value, at):
        """A metric; `(value, attempt)` when another attempt than the first computed it, a word when not finite."""
        value, attempt = value if isinstance(value, tuple) else (value, 1)
        finite = not isinstance(value, str)
        self.add(
            tables.epoch_metrics,
            job_id=job_id,
            epoch=epoch,
            name=name,
            value=value if finite else None,
            value_kind="finite" if finite else value,
            attempt=attempt,
            recorded_at=at,
        )

    def checkpoint(self, job, name, size, *, best=False):
        self.add(
            tables.checkpoints,
            job_id=self.ids[job],
            name=name,
            attempt=1,
            epoch=1,
            step=10,
            path=f"jobs/{self.ids[job]}/{name}",
            bytes=size,
            sha256="5" * 64,
            weights_sha256="6" * 64,
            is_best=best,
            created_at=FIRST,
        )

    def worker(self, name, started, seen, state):
        told = {"pid": 1, "lanes": ["cpu"], "slots": 2, "free_memory_mb": 1000, "version": "0.1.0"}
        self.add(
            tables.workers, name=name, host=f"{name}.example", state=state, started_at=started, seen_at=seen, **told
        )


def training(dataset, optimizer, epochs, *, validation=None):
    data = {"train": {"dataset": dataset, "split": "train"}}
    if validation is not None:
        data["validation"] = validation
    return {
        "kind": "train",
        "data": data,
        "compile": {"optimizer": optimizer, "loss": "mse", "metrics": []},
        "fit": {"epochs": epochs, "batch_size": 32},
    }


def evaluation(dataset):
    return {"kind": "evaluate", "data": {"test": {"dataset": dataset, "split": "test"}}, "batch_size": 64}


def prediction(source):
    return {"kind": "predict", "data": {"input": source}, "batch_size": 32}


def train_jobs(history):
    history.job(
        "mlp-adam",
        at=FIRST,
        spec=training(
            "fashion_mnist",
            {"Adam": {"learning_rate": 0.001}},
            4,
            validation={"dataset": "fashion_mnist", "split": "test"},
        ),
        tags={"team": "vision", "project": "shoes"},
        attempts=[("w1", 10, 12, 612, "succeeded")],
        metrics={
            "loss": [1.0, 0.6, 0.4, 0.3],
            "val_loss": [0.9, 0.65, 0.7, 0.8],
            "val_accuracy": [0.7, 0.8, 0.8, 0.78],
        },
        result={"epochs": 4, "steps": 7500, "parameters": 101_770, "stopped_early": False, "weights": "a" * 64},
    )
    history.job(
        "mlp-sgd",
        at=FIRST + timedelta(hours=1),
        spec=training("fashion_mnist", "sgd", 3),
        tags={"team": "vision"},
        attempts=[("w1", 60, 62, 362, "failed", "worker_lost"), ("w2", 392, 394, 994, "succeeded")],
        metrics={
            "loss": [1.5, (1.2, 2), (1.1, 2)],
            "val_loss": [1.2, (1.0, 2), (0.9, 2)],
            "val_accuracy": [0.5, (0.6, 2), (0.7, 2)],
        },
        result={"epochs": 3, "steps": 5625, "parameters": 101_770, "stopped_early": False, "weights": "b" * 64},
    )
    history.job(
        "rnn",
        at=SECOND + timedelta(days=1),
        state="failed",
        spec=training(
            "imdb", {"class_name": "RMSprop", "config": {"learning_rate": 0.01}}, 5, validation={"split": 0.1}
        ),
        tags={"team": "text"},
        attempts=[("w1", 5, 7, 67, "failed", "nan_loss")],
        metrics={"loss": [2.0, "nan"], "val_loss": [2.5, "+inf"]},
    )
    history.job(
        "mlp-tuned",
        at=THIRD,
        spec=training("fashion_mnist", "Adam", 5),
        tags={"team": "vision"},
        source=("mlp-adam", "epoch-1"),
        attempts=[("w2", 20, 21, 321, "succeeded")],
        metrics={"loss": [0.3, 0.25], "val_loss": [0.64, 0.62], "val_accuracy": [0.82, 0.85]},
        result={"epochs": 2, "steps": 3750, "parameters": 101_770, "stopped_early": True, "weights": "d" * 64},
    )


def other_jobs(history):
    quick = [("w1", 1, 2, 5, "succeeded")]
    for name, source, metrics, kinds in (
        ("test-adam", ("mlp-adam", "final"), {"loss": 0.42, "accuracy": 0.86}, {}),
        ("test-sgd", ("mlp-sgd", "final"), {"loss": 0.5, "accuracy": 0.81}, {}),
        ("test-tuned", ("mlp-tuned", "final"), {"loss": None, "accuracy": 0.9}, {"loss": "nan"}),
    ):
        result = {"rows": 10_000, "metrics": metrics, "value_kinds": kinds}
        spec = evaluation("fashion_mnist")
        history.job(
            name, "evaluate", at=THIRD + timedelta(hours=2), spec=spec, source=source, attempts=quick, result=result
        )
    for name, source, data, rows in (
        ("shoes", ("mlp-adam", "final"), {"x": [[1.0], [2.0]]}, 2),
        ("catalog", ("mlp-tuned", "final"), {"npz": "shop/images.npz", "x": "x"}, 100),
    ):
        history.job(
            name,
            "predict",
            at=THIRD + timedelta(hours=3),
            lane="interactive",
            spec=prediction(data),
            source=source,
            attempts=quick,
            result={"rows": rows, "predictions": None},
        )
    history.job("oops", at=SECOND, state="cancelled", spec=training("digits", "adam", 1))
    history.job(
        "typo",
        "predict",
        at=FIRST + timedelta(days=2),
        state="failed",
        spec=prediction({"npz": "mising.npz", "x": "x"}),
        attempts=[("w1", 1, 2, 3, "failed", "bad_data")],
    )


def recent_jobs(history):
    now = history.now
    for name, at in (("yesterday", now - timedelta(hours=26)), ("today", now - timedelta(hours=2))):
        history.job(
            name,
            name="nightly",
            at=at,
            seed=42,
            spec=training("digits", "adam", 2),
            attempts=[("w3", 30, 31, 1831, "succeeded")],
            metrics={"loss": [0.5, 0.4]},
            result={"epochs": 2, "steps": 114, "parameters": 650, "stopped_early": False, "weights": "e" * 64},
        )
    digits = training("digits", "adam", 10)
    history.job("waits", at=now - seconds(600), state="queued", spec=digits)
    history.job("hurry", at=now - seconds(60), state="queued", spec=digits, priority=10)
    history.job("big", at=now - seconds(30), state="queued", spec=digits, lane="gpu", memory_mb=8192)
    history.job(
        "runs",
        at=now - seconds(130),
        state="running",
        spec=digits,
        attempts=[("w3", 10, 11, None, None)],
        metrics={"loss": [0.9, 0.8, 0.7]},
    )
    # Internal: it is in no view.
    history.job(
        "check", "check", at=now, spec=digits, tags={"team": "vision"}, source=("mlp-adam", "final"),
        attempts=[("w3", 0, 1, 2, "succeeded")], result={"rows": 1},
    )  # fmt: skip
    history.worker("w2", FIRST, THIRD + timedelta(hours=4), "gone")
    history.worker("w3", now - timedelta(hours=26), now, "ready")


@pytest.fixture
def url(engine, database_url):
    """A database with a history."""
    with db.write(engine) as connection:
        history = History(connection)
        train_jobs(history)
        other_jobs(history)
        recent_jobs(history)
        history.checkpoint("mlp-adam", "epoch-1", 1000, best=True)
        history.checkpoint("mlp-adam", "final", 1000)
        history.checkpoint("mlp-sgd", "final", 1500)
    return database_url


def questions():
    """Return the page's queries as (question, dialect, statement); the dialect is empty for both."""
    found, heading = [], ""
    for match in re.finditer(r"^### (.+)$|^```sql ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2], match[3]))
    return found


def about(seconds):
    """A duration that goes on while the test runs."""
    return pytest.approx(seconds, abs=300)


def ms(value):
    return pytest.approx(value, abs=0.002)


#: What each question's query answers; times as text, numbers as they are.
ANSWERS = {}


def ask(url, statement):
    answer = readonly.query(url, statement, limit=1000, timeout_s=30)
    return [tuple(sql._plain(value) for value in row) for row in answer.rows]


@pytest.mark.parametrize(("question", "dialect", "statement"), questions(), ids=lambda value: value.split("\n")[0][:60])
def test_the_query_answers_its_question(url, question, dialect, statement):
    if dialect and not url.startswith(dialect):
        pytest.skip(f"is for {dialect}")
    print(f'    "{question}": [')
    for r in ask(url, statement): print("        ", r, ",", sep="")
    print("    ],")
