"""Every query of docs/sql.md, asked of a small history made by hand, on both databases.

A query belongs to the heading above it; one without an expected answer in ANSWERS fails.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import ANY

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
        self.jobs = 0
        self.ids = {}

    def add(self, table, **values):
        self.connection.execute(sa.insert(table).values(**values))

    def job(self, name, kind="train", *, at, state="succeeded", spec=None, lane="cpu", tags=None, source=None, **more):
        """A job, and the attempts, metrics and result that `more` tells of."""
        self.jobs += 1
        job_id = self.ids[name] = f"job_{self.jobs:02}"
        attempts, metrics, result = more.pop("attempts", ()), more.pop("metrics", {}), more.pop("result", None)
        last = attempts[-1] if attempts else None
        ended = state in {"succeeded", "failed", "cancelled"}
        finished = (at + seconds(last[3]) if last else at + seconds(1)) if ended else None
        row = {"priority": 0, "spec_version": 1, "seed": 7, "memory_mb": 2048, "retries": 3, **more}
        self.add(
            tables.jobs,
            **row,
            id=job_id,
            kind=kind,
            name=name,
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
        parent_id=history.ids["mlp-adam"],
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
    history.job("oops", at=SECOND, state="cancelled", spec=training("digits", "adam", 1), deleted_at=THIRD)
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
    for hours in (26, 2):
        history.job(
            "nightly",
            at=now - timedelta(hours=hours),
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
        "later",
        at=now - seconds(900),
        state="queued",
        held=True,
        spec=digits,
        metrics={"loss": [0.9, 0.8]},
    )
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
        "check",
        "check",
        at=now,
        spec=digits,
        tags={"team": "vision"},
        source=("mlp-adam", "final"),
        attempts=[("w3", 0, 1, 2, "succeeded")],
        result={"rows": 1},
    )
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
    for match in re.finditer(r"^### ([^\n]+)$|^```sql ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2], match[3]))
    return found


def about(seconds):
    """A duration that goes on while the test runs."""
    return pytest.approx(seconds, abs=300)


#: What each question's query answers. Times are text; a float may be a little off.
ANSWERS = {
    "Which epoch was each job's best?": [
        ("mlp-tuned", 1, 0.85, 1, 0.85),
        ("mlp-adam", 1, 0.8, 3, 0.78),
        ("mlp-sgd", 2, 0.7, 2, 0.7),
    ],
    "How well does each model do on test data?": [
        ("mlp-tuned", "final", "fashion_mnist", 0.9),
        ("mlp-adam", "final", "fashion_mnist", 0.86),
        ("mlp-sgd", "final", "fashion_mnist", 0.81),
    ],
    "How do two learning curves look side by side?": [
        (0, 0.9, 1.2),
        (1, 0.65, 1.0),
        (2, 0.7, 0.9),
        (3, 0.8, None),
    ],
    "Which jobs overfit?": [("mlp-adam", 1, 0.65, 0.8, 0.6, 0.3)],
    "Which jobs met NaN or infinity, and when?": [
        ("rnn", "loss", "nan", 1, "failed", "nan_loss"),
        ("rnn", "val_loss", "+inf", 1, "failed", "nan_loss"),
    ],
    "Which optimizer does best?": [
        ("fashion_mnist", "adam", None, 1, 0.85, 0.85),
        ("fashion_mnist", "adam", 0.001, 1, 0.8, 0.8),
        ("fashion_mnist", "sgd", None, 1, 0.7, 0.7),
    ],
    "Which jobs stopped early?": [("mlp-tuned", 2, 5, 101_770)],
    "Which jobs came to the very same weights?": [("nightly", 42, 2)],
    "Which jobs descend from a model?": [
        (0, "train", "mlp-adam", None),
        (1, "train", "mlp-tuned", "epoch-1"),
        (1, "evaluate", "test-adam", "final"),
        (1, "predict", "shoes", "final"),
        (2, "evaluate", "test-tuned", "final"),
        (2, "predict", "catalog", "final"),
    ],
    "Which predictions were made with a model?": [("shoes", "inline", "final", 2, "2026-03-16 11:00:05.000000")],
    "Which data sets are used, and how much?": [
        ("digits", "train", 8, "2026-03-09 08:00:00.000000", ANY),
        ("fashion_mnist", "evaluate", 3, "2026-03-16 10:00:00.000000", "2026-03-16 10:00:00.000000"),
        ("fashion_mnist", "train", 3, "2026-03-02 08:00:00.000000", "2026-03-16 08:00:00.000000"),
        ("imdb", "train", 1, "2026-03-10 08:00:00.000000", "2026-03-10 08:00:00.000000"),
        ("inline", "predict", 1, "2026-03-16 11:00:00.000000", "2026-03-16 11:00:00.000000"),
        ("mising.npz", "predict", 1, "2026-03-04 08:00:00.000000", "2026-03-04 08:00:00.000000"),
        ("shop/images.npz", "predict", 1, "2026-03-16 11:00:00.000000", "2026-03-16 11:00:00.000000"),
    ],
    "How many hours were trained for each tag?": [
        ("project", "shoes", 1, 0.17),
        ("team", "text", 1, 0.02),
        ("team", "vision", 3, 0.5),
    ],
    "Where did each job's time go?": [
        ("mlp-adam", 10.0, 2.0, 600.0, 1),
        ("mlp-sgd", 90.0, 4.0, 900.0, 2),
        ("mlp-tuned", 20.0, 1.0, 300.0, 1),
        ("nightly", 30.0, 1.0, 1800.0, 1),
        ("nightly", 30.0, 1.0, 1800.0, 1),
    ],
    "Which jobs waited longest?": [
        ("mlp-sgd", 1, "cpu", 0, 60.0),
        ("mlp-sgd", 2, "cpu", 0, 30.0),
        ("nightly", 1, "cpu", 0, 30.0),
    ],
    "How long do jobs wait in each lane?": [("cpu", 11, 15.4, 60.0), ("interactive", 2, 1.0, 1.0)],
    "What waits now, and in which order?": [
        ("cpu", 1, "hurry", 10, 2048, about(60)),
        ("cpu", 2, "waits", 0, 2048, about(600)),
        ("gpu", 1, "big", 0, 8192, about(30)),
    ],
    "Which jobs are paused, and how far are they?": [("later", 2, 10)],
    "Which jobs went on with the training of another?": [("mlp-adam", 4, "mlp-tuned", 5)],
    "Whose files were deleted, and what had they come to?": [("oops", "2026-03-16 08:00:00.000000", None)],
    "What runs now, and how far is it?": [("runs", "w3", 1, 3, 10)],
    "How do jobs end?": [
        ("evaluate", "succeeded", 3),
        ("predict", "failed", 1),
        ("predict", "succeeded", 2),
        ("train", "cancelled", 1),
        ("train", "failed", 1),
        ("train", "queued", 4),
        ("train", "running", 1),
        ("train", "succeeded", 5),
    ],
    "Why do jobs fail, week by week?": [("2026-03-02", "bad_data", 1), ("2026-03-09", "nan_loss", 1)],
    "What did retries cost?": [("mlp-sgd", "worker_lost", 1, 302.0, 30.0, 1)],
    "What did each worker do in the last 24 hours?": [("w3", 1, 1, 2, 0.5)],
    "How busy are the workers?": [
        ("w1", None, None, 9, 0, 3, 988, None),
        ("w2", "gone", 2, 2, 0, 0, 903, 0.0),
        ("w3", "ready", 2, 3, 1, 0, 3722, 2.0),
    ],
    "Which jobs' checkpoints take the most space?": [("mlp-adam", 2, 2000), ("mlp-sgd", 1, 1500)],
}


def near(row):
    return tuple(pytest.approx(value, abs=0.002) if isinstance(value, float) else value for value in row)


@pytest.mark.parametrize(
    ("question", "dialect", "statement"),
    [pytest.param(*one, id="-".join(filter(None, one[:2]))) for one in questions()],
)
def test_the_query_answers_its_question(url, question, dialect, statement):
    if dialect and not url.startswith(dialect):
        pytest.skip(f"this variant is for {dialect}")
    answer = readonly.query(url, statement, limit=1000, timeout_s=30)

    rows = [tuple(sql.plain(value) for value in row) for row in answer.rows]
    assert rows == [near(row) for row in ANSWERS[question]]


def test_each_question_has_a_query_for_both_databases():
    asked = {}
    for question, dialect, _ in questions():
        asked.setdefault(question, []).append(dialect)

    assert asked.keys() == ANSWERS.keys()
    assert all(dialects in ([""], ["sqlite", "postgresql"]) for dialects in asked.values())


def test_the_page_says_what_the_views_are():
    assert views.written(PAGE.read_text()) == PAGE.read_text(), "run: python -m shared.views"


def recipe(heading):
    """Return the code of docs/sql.md below a heading."""
    return PAGE.read_text().partition(f"### {heading}")[2].partition("```python\n")[2].partition("```")[0]


def test_the_recipe_for_pandas_makes_curves(url):
    pytest.importorskip("pandas")
    written = "sqlite:///.fitq/fitq.db"
    code = recipe("pandas: curves, one column for each job")
    assert written in code
    done = {}
    exec(code.replace(written, url.replace("postgresql://", "postgresql+psycopg://")), done)

    assert done["curves"]["mlp-adam"].tolist() == [0.9, 0.65, 0.7, 0.8]
    assert list(done["curves"].index) == [0, 1, 2, 3]
    done["engine"].dispose()


def test_the_recipe_for_duckdb_finds_best_epochs(url):
    duckdb = pytest.importorskip("duckdb")
    dialect = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    written, now = {
        "SQLite": (".fitq/fitq.db", url.removeprefix("sqlite:///")),
        "PostgreSQL": ("postgresql://fitq_reader@db.example/fitq", url),
    }[dialect]
    code = recipe(f"DuckDB on {dialect}")
    assert written in code
    try:
        duckdb.connect().execute("INSTALL sqlite" if dialect == "SQLite" else "INSTALL postgres")
    except duckdb.Error as error:
        pytest.skip(f"DuckDB cannot fetch its extension: {str(error).splitlines()[0]}")
    done = {}
    exec(code.replace(written, now), done)

    assert done["best"] == [("job_04", 1, 0.62), ("job_01", 1, 0.65), ("job_02", 2, 0.9), ("job_03", 0, 2.5)]
