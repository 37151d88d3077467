"""The views: what they are called, what their columns say, and the answers that need some thought."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from shared import checkpoints, db, jobs, spec, tables, wishes
from shared.states import CancelMode
from shared.views import VIEWS

START = datetime(2026, 3, 2, 8, tzinfo=UTC)

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}, "validation": {"split": 0.25}},
    "compile": {"loss": "mse"},
}


def at(seconds):
    return START + timedelta(seconds=seconds)


def rows(engine, query):
    with db.read(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def add(engine, table, *values):
    with db.write(engine) as connection:
        for one in values:
            connection.execute(sa.insert(table).values(**one))


def submit(engine, **changes):
    with db.write(engine) as connection:
        return jobs.submit(connection, spec.parse({**TINY, **changes})).job_id


def claim(engine, worker="w"):
    with db.write(engine) as connection:
        return jobs.claim(connection, lane="cpu", worker=worker, host="h", free_memory_mb=99_999, lease_s=30)


def succeed(engine, attempt, value):
    with db.write(engine) as connection:
        jobs.fence(connection, attempt.job_id, attempt.number, batch=1)
        ended = {"value": value, "weights_sha256": None, "final_checkpoint": None}
        jobs.succeed(connection, attempt.job_id, attempt.number, **ended)


def test_every_view_and_every_column_has_a_comment(engine):
    looked = sa.inspect(engine)
    found = {name: [column["name"] for column in looked.get_columns(name)] for name in looked.get_view_names()}

    assert found == {name: list(view.columns) for name, view in VIEWS.items()}
    assert all(view.sentence and all(view.columns.values()) for view in VIEWS.values())


def test_postgresql_keeps_the_comments(engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no comments")
    looked = sa.inspect(engine)
    for name, view in VIEWS.items():
        said = {column["name"]: column["comment"] for column in looked.get_columns(name)}
        assert (said, looked.get_table_comment(name)["text"]) == (view.columns, view.sentence)


def best(engine, name, values):
    """Return the best epoch of a metric with these values; a word is one that is not finite."""
    job = submit(engine)
    add(
        engine,
        tables.epoch_metrics,
        *(
            {
                "job_id": job,
                "epoch": epoch,
                "name": name,
                "value": None if isinstance(value, str) else value,
                "value_kind": value if isinstance(value, str) else "finite",
                "attempt": 1,
                "recorded_at": START,
            }
            for epoch, value in enumerate(values)
        ),
    )
    return rows(engine, f"SELECT direction, epoch, value, last_epoch FROM v_best_epoch WHERE job_id = '{job}'")


def test_the_earlier_of_equal_epochs_is_best(engine):
    assert best(engine, "val_loss", [3.0, 1.0, 1.0, 2.0]) == [("min", 1, 1.0, 3)]
    assert best(engine, "val_accuracy", [0.1, 0.9, 0.9, 0.2]) == [("max", 1, 0.9, 3)]


def test_what_is_not_finite_is_never_best(engine):
    assert best(engine, "loss", ["-inf", 2.0, "nan"]) == [("min", 1, 2.0, 2)]
    assert best(engine, "accuracy", ["+inf", 0.5]) == [("max", 1, 0.5, 1)]
    assert best(engine, "loss", ["nan", "nan"]) == []


@pytest.mark.parametrize(
    ("direction", "names"),
    [
        ("max", ["acc", "val_AUC", "precision_1", "recall", "f1_score", "fbeta_score", "val_mean_io_u", "r2_score"]),
        ("max", ["sparse_top_k_categorical_accuracy", "sensitivity_at_specificity", "cosine_similarity"]),
        ("min", ["loss", "accent_loss", "accuracy_error", "layer2_mae", "binary_crossentropy", "kl_divergence"]),
        ("min", ["learning_rate", "radios_used", "false_positives"]),
    ],
)
def test_the_name_of_a_metric_says_what_is_better(engine, direction, names):
    assert [best(engine, name, [1.0])[0][0] for name in names] == [direction] * len(names)


def test_the_basics_of_the_spec_are_columns(engine):
    for optimizer, loss in (
        ("Adam", "mse"),
        ({"SGD": {"learning_rate": 0.5}}, {"Huber": {"delta": 2.0}}),
        (
            {"class_name": "RMSprop", "config": {"learning_rate": 0.25}, "module": "keras.optimizers"},
            {"class_name": "MeanSquaredError", "config": {}, "module": "keras.losses"},
        ),
        ({"Adagrad": None}, "mae"),
    ):
        submit(engine, compile={"optimizer": optimizer, "loss": loss}, fit={"epochs": 9, "batch_size": 8})

    assert rows(engine, "SELECT optimizer, learning_rate, loss FROM v_jobs ORDER BY job_id") == [
        ("adam", None, "mse"),
        ("sgd", 0.5, "Huber"),
        ("rmsprop", 0.25, "MeanSquaredError"),
        ("adagrad", None, "mae"),
    ]
    columns = "epochs, batch_size, dataset, dataset_split, validation_dataset, validation_fraction"
    assert rows(engine, f"SELECT DISTINCT {columns} FROM v_jobs") == [(9, 8, "inline", None, None, 0.25)]


def test_data_is_named_by_its_data_set_or_its_file(engine):
    submit(engine, data={"train": {"npz": "shop/train.npz"}, "validation": {"dataset": "mnist", "split": "test"}})
    evaluate = {key: TINY[key] for key in ("model", "compile")}
    with db.write(engine) as connection:
        parsed = spec.parse({**evaluate, "kind": "evaluate", "data": {"test": {"dataset": "mnist", "split": "test"}}})
        jobs.submit(connection, parsed)

    columns = "kind, dataset, dataset_split, validation_dataset"
    assert rows(engine, f"SELECT {columns} FROM v_jobs ORDER BY job_id") == [
        ("train", "shop/train.npz", None, "mnist"),
        ("evaluate", "mnist", "test", None),
    ]


def test_a_spec_that_is_not_as_expected_gives_null_and_no_error(engine):
    job = submit(engine)
    with db.write(engine) as connection:
        odd = {"fit": {"epochs": "many", "batch_size": [1]}, "compile": [], "data": "none", "batch_size": None}
        connection.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job).values(spec=odd))

    assert rows(engine, "SELECT epochs, batch_size, optimizer, learning_rate, loss, dataset FROM v_jobs") == [
        (None,) * 6
    ]


def test_the_results_of_an_evaluation_are_rows(engine):
    submit(engine)
    with db.write(engine) as connection:
        connection.execute(sa.update(tables.jobs).values(kind="evaluate"))
    measured = {"loss": None, "accuracy": 1, 'o"dd': 0.5}
    succeed(engine, claim(engine), {"rows": 3, "metrics": measured, "value_kinds": {"loss": "nan"}})

    assert sorted(rows(engine, "SELECT name, value, value_kind, model_job_id FROM v_test_scores")) == [
        ("accuracy", 1.0, "finite", None),
        ("loss", None, "nan", None),
        ('o"dd', 0.5, "finite", None),
    ]
    assert rows(engine, "SELECT row_count, epochs, stopped_early FROM v_results") == [(3, None, None)]


@pytest.mark.parametrize("kind", ["check", "export"])
def test_internal_jobs_are_in_no_view(engine, kind):
    with db.write(engine) as connection:
        jobs.submit(connection, spec.parse({**TINY, "tags": {"team": "vision"}}), kind=kind)
    succeed(engine, claim(engine), {})

    assert {name: rows(engine, f"SELECT count(*) FROM {name}") for name in VIEWS} == {name: [(0,)] for name in VIEWS}


def test_each_attempt_waits_since_its_job_was_queued_again(engine):
    job = submit(engine)
    attempts = [(10, 20, "failed"), (130, 140, "failed"), (560, 600, "released"), (640, None, None)]
    queued = [0, 100, 500, 600]
    add(
        engine,
        tables.attempts,
        *(
            {
                "job_id": job,
                "attempt": number,
                "worker": "w",
                "host": "h",
                "started_at": at(start),
                "ended_at": at(end) if end else None,
                "outcome": outcome,
            }
            for number, (start, end, outcome) in enumerate(attempts, 1)
        ),
    )
    with db.write(engine) as connection:
        # Failed and retried by hand after 100 s and after 500 s; then released, which queued it again by itself.
        connection.execute(sa.update(tables.jobs).values(created_at=at(0), queued_at=at(500)))
        connection.execute(sa.delete(tables.job_events))
    add(
        engine,
        tables.job_events,
        *(
            {"job_id": job, "seq": seq, "type": "state", "data": {"state": "queued"}, "at": at(when)}
            for seq, when in enumerate(queued, 1)
        ),
    )

    found = rows(engine, "SELECT attempt, wait_s FROM v_queue_wait ORDER BY attempt")
    assert found == [(1, pytest.approx(10)), (2, pytest.approx(30)), (3, pytest.approx(60)), (4, pytest.approx(40))]


def test_a_job_that_was_never_retried_waits_from_the_submit_to_its_claim(engine):
    submit(engine)
    claim(engine)

    ((attempt, wait),) = rows(engine, "SELECT attempt, wait_s FROM v_queue_wait")
    assert attempt == 1
    assert 0 <= wait < 60


def test_an_attempt_is_no_longer_than_its_workers_life(engine):
    job = submit(engine)
    worker = {"host": "h", "pid": 1, "lanes": ["cpu"], "slots": 1, "free_memory_mb": 1, "version": "1"}
    dead = {"name": "dead", "state": "ready", "started_at": at(0), "seen_at": at(100)}
    idle = {"name": "idle", "state": "gone", "started_at": at(0), "seen_at": at(10)}
    add(engine, tables.workers, worker | dead, worker | idle)
    add(
        engine,
        tables.attempts,
        {
            "job_id": job,
            "attempt": 1,
            "worker": "dead",
            "host": "h",
            "started_at": at(50),
            "ended_at": at(130),
            "outcome": "failed",
        },
    )

    columns = "worker, life_s, attempts, failed, busy_s, busy_share"
    assert rows(engine, f"SELECT {columns} FROM v_worker_load ORDER BY worker") == [
        ("dead", pytest.approx(100), 1, 1, pytest.approx(50), pytest.approx(0.5)),
        ("idle", pytest.approx(10), 0, 0, 0.0, 0.0),
    ]


def test_the_views_tell_what_was_asked_of_a_job(engine):
    first = submit(engine, name="first")
    taken = claim(engine)
    with db.write(engine) as connection:
        wishes.pause(connection, first)
        paused = connection.execute(sa.text("SELECT paused FROM v_jobs")).scalar_one()
        jobs.fence(connection, first, taken.number, batch=1)
        row = {"name": "epoch-0", "epoch": 1, "step": 1, "path": "p", "bytes": 1, "sha256": "1" * 64}
        row |= {"weights_sha256": "2" * 64}
        checkpoints.record(connection, first, taken.number, row, greater=False, keep=checkpoints.Retention())
        jobs.cancelled(connection, first, taken.number)
        second = wishes.resume(connection, first, epochs=3).job_id
        asked = {"kind": "train", "model": {"job": first, "checkpoint": 0}, "data": TINY["data"]}
        third = jobs.submit(connection, spec.parse(asked)).job_id
        for one in (second, third):
            wishes.cancel(connection, one, CancelMode.NOW)
        wishes.delete(connection, first)

    assert paused
    assert rows(engine, "SELECT job_id, resumes FROM v_lineage ORDER BY job_id") == [(second, True), (third, False)]
    told = "SELECT job_id, paused, parent_job_id, deleted_at IS NOT NULL FROM v_jobs ORDER BY job_id"
    assert rows(engine, told) == [
        (first, False, None, True),
        (second, False, first, False),
        (third, False, None, False),
    ]
