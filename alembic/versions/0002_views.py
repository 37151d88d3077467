"""More views for analysts, more columns in those there are, and a comment on every column."""

# The text of the views is put together here, from constants; the two dialects answer the same questions.
# ruff: noqa: D102, S608

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Where the spec of a job of each kind holds its data; `*` in a path stands for it.
DATA = "CASE j.kind WHEN 'train' THEN 'train' WHEN 'evaluate' THEN 'test' ELSE 'input' END"
#: Keys of a data source that name a data set, a file or a folder.
SOURCES = ("dataset", "npz", "npy", "csv", "parquet", "tfrecord", "images")
#: Ends of the names of metrics of which less is better, whatever else the names contain.
LESS = ("loss", "error", "mae", "mse", "entropy", "divergence")
#: Parts of the names of metrics of which more is better.
MORE = (
    *("acc", "auc", "precision", "recall", "f1", "fbeta", "fscore", "iou", "io_u", "r2", "dice"),
    *("specificity", "sensitivity", "correlation", "cosine_similarity", "true_positives", "true_negatives"),
)

#: What each view is, and each of its columns.
COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "v_jobs": (
        "A row for each job: what it is, how it stands, when it was where, and the basics of its spec.",
        {
            "job_id": "job_ and a UUID that sorts by the time of submission",
            "kind": "train, evaluate or predict",
            "name": "what the submitter calls it; NULL without one, and not unique",
            "state": "queued, running, succeeded, failed or cancelled",
            "lane": "where it waits: cpu, gpu or interactive",
            "priority": "-100 to 100; one point is worth ten minutes of waiting",
            "seed": "seeds weights, data order and random layers",
            "attempts": "attempts begun so far, those before a retry by hand included",
            "worker": "the worker that runs it, or ran it last",
            "error_code": "the failure class of a failed job, such as nan_loss or worker_lost",
            "error_message": "a sentence about the failure that a person can act on",
            "created_at": "submitted (UTC)",
            "queued_at": "queued by the submit, or by the last retry by hand (UTC)",
            "started_at": "first claimed by a worker (UTC)",
            "finished_at": "succeeded, failed or cancelled (UTC)",
            "wait_s": "seconds from the submit to the first claim; NULL before it",
            "elapsed_s": "seconds from the first claim to the end, waits between attempts included",
            "run_s": "counts against its time limit: run_s of its ended attempts since the last retry by hand",
            "waiting_s": "seconds since it was queued; NULL unless it is queued now",
            "rank": "the order in its lane: the lowest rank that fits the memory is claimed first",
            "available_at": "not claimed before: backoff after a failure (UTC)",
            "memory_mb": "memory that it asks for, MiB",
            "retries": "faults of the machine in a row, without a new checkpoint, that it survives",
            "cancel_mode": "after_epoch or now, when a cancel was asked for",
            "epochs": "epochs that it is to train (fit.epochs); NULL unless kind is train",
            "epochs_done": "epochs whose metrics are there, counted from the first; NULL before the first",
            "batch_size": "samples of a batch",
            "optimizer": "the optimizer's name in lower case, such as adam; NULL where the spec names none",
            "learning_rate": "the optimizer's learning rate; NULL for its default or a schedule",
            "loss": "the loss's name as the spec writes it; NULL where the spec names none",
            "dataset": "the data set, file or folder that it trains on, is measured on or predicts; inline for arrays",
            "dataset_split": "train or test, for a data set by name",
            "validation_dataset": "the data set, file or folder that it is validated on",
            "validation_fraction": "the share of the training data that is kept for validation",
            "model_job_id": "the job whose model it starts from; NULL for a new model",
            "model_checkpoint": "the checkpoint of that job",
        },
    ),
    "v_attempts": (
        "A row for each try at running a job.",
        {
            "job_id": "the job",
            "attempt": "the number of the try, from 1",
            "worker": "the worker that claimed it",
            "host": "the worker's machine",
            "started_at": "claimed (UTC)",
            "running_at": "the job's own code began to run (UTC)",
            "ended_at": "ended (UTC); NULL while it runs",
            "outcome": "succeeded, failed, cancelled or released (given back in order); NULL while it runs",
            "error_code": "the failure class of this attempt",
            "error_message": "a sentence about the failure",
            "resumed_epoch": "the first epoch that it ran, from 0; NULL when it began afresh",
            "start_s": "seconds from the claim until the job's own code ran",
            "run_s": "seconds that the job's own code ran (sum these); NULL until it ended, or if it never began",
            "total_s": "seconds from the claim to the end",
            "epochs": "epochs of the job's history that this attempt computed",
        },
    ),
    "v_epoch_metrics": (
        "A row for each metric of each epoch; every epoch once, however often the job was interrupted.",
        {
            "job_id": "the job",
            "epoch": "the epoch, from 0",
            "name": "as in Keras's History: loss, accuracy, val_loss",
            "value": "the value; NULL when it is not finite",
            "value_kind": "finite, nan, +inf or -inf",
            "attempt": "the attempt that computed it",
            "recorded_at": "when it reached the database (UTC)",
        },
    ),
    "v_best_epoch": (
        "A row for each job and metric: its best epoch, judged by the metric's name, and its last one.",
        {
            "job_id": "the job",
            "name": "the metric",
            "direction": "max where the name says that more is better (accuracy, AUC, F1, IoU), else min",
            "epoch": "the best epoch, from 0; the earlier of equals; one that is not finite is never best",
            "value": "the metric's value in that epoch",
            "last_epoch": "the last epoch that has the metric, from 0",
            "last_value": "the metric's value in the last epoch; NULL when it is not finite",
            "last_value_kind": "finite, nan, +inf or -inf",
        },
    ),
    "v_results": (
        "A row for each job that succeeded: what it came to.",
        {
            "job_id": "the job",
            "kind": "train, evaluate or predict",
            "attempt": "the attempt that wrote it",
            "value": "all of the result, JSON (text on SQLite, jsonb on PostgreSQL)",
            "weights_sha256": "SHA-256 of the final model's variables; equal for equal weights (train)",
            "final_checkpoint": "the checkpoint that holds what fit leaves in the model (train)",
            "created_at": "when it was written (UTC)",
            "epochs": "epochs that were trained, early stopping considered (train)",
            "steps": "batches that were trained (train)",
            "parameters": "parameters of the model (train)",
            "stopped_early": "whether it ended before fit.epochs (train)",
            "row_count": "rows that were measured or predicted (evaluate, predict)",
        },
    ),
    "v_test_scores": (
        "A row for each metric that an evaluate job measured, on whatever data it was given (v_jobs.dataset).",
        {
            "job_id": "the evaluate job",
            "model_job_id": "the job whose model was measured; NULL for a new model",
            "model_checkpoint": "the checkpoint of that job",
            "name": "the metric, as Keras names it: loss, accuracy and what the compile asked for",
            "value": "the value; NULL when it is not finite",
            "value_kind": "finite, nan, +inf or -inf",
        },
    ),
    "v_checkpoints": (
        "A row for each checkpoint that is kept.",
        {
            "job_id": "the job that wrote it",
            "name": "epoch-N (from 0, as in v_epoch_metrics), step-N or final",
            "attempt": "the attempt that wrote it",
            "epochs": "epochs that were complete",
            "steps": "batches that were complete",
            "bytes": "the size of its file",
            "sha256": "SHA-256 of its file",
            "weights_sha256": "SHA-256 of the model's variables",
            "monitor": "the metric by which the job chooses its best checkpoint",
            "value": "the monitored metric; NULL when it is not finite or not there",
            "is_best": "whether it is the job's best one; follows checkpoint.mode of the spec",
            "created_at": "when it was written (UTC)",
        },
    ),
    "v_job_tags": (
        "A row for each tag of a job.",
        {"job_id": "the job", "key": "the tag's key", "value": "the tag's value"},
    ),
    "v_lineage": (
        "A row for each job that is made from another one's model.",
        {
            "job_id": "the job",
            "kind": "train, evaluate or predict",
            "role": "what the other job's file is to this one: model",
            "source_job_id": "the job that it is made from",
            "checkpoint": "the checkpoint of that job, pinned at the submit",
            "sha256": "SHA-256 of the checkpoint's file, pinned at the submit",
        },
    ),
    "v_queue_wait": (
        "A row for each attempt: how long its job had waited when it was claimed.",
        {
            "job_id": "the job",
            "attempt": "the attempt that ended the wait; the first claim of a job is attempt 1",
            "kind": "train, evaluate or predict",
            "lane": "where it waited: cpu, gpu or interactive",
            "priority": "-100 to 100; one point is worth ten minutes of waiting",
            "waiting_since": "queued by the submit, by a retry by hand, or again after an attempt (UTC)",
            "claimed_at": "claimed by a worker (UTC)",
            "wait_s": "seconds that it waited, backoff included",
        },
    ),
    "v_worker_load": (
        "A row for each start of a worker: what it did, and how much of its life it was busy.",
        {
            "worker": "the worker's name; unique to one start of one process",
            "host": "its machine",
            "version": "its version of fitq; this and the rest of its own words are NULL once it is forgotten",
            "state": "warming, ready, draining or gone, as it last said",
            "slots": "jobs that it runs at a time, beside one interactive",
            "started_at": "when it started (UTC)",
            "seen_at": "its last beat (UTC)",
            "life_s": "seconds from its start to its last beat",
            "attempts": "attempts that it claimed",
            "running": "attempts that have not ended",
            "succeeded": "attempts that succeeded",
            "failed": "attempts that failed, those lost with the worker included",
            "busy_s": "seconds of its attempts, from claim to end or to its last beat, all together",
            "busy_share": "busy_s / (life_s * slots); above 1 when the interactive slot was busy as well",
        },
    ),
}


class SQLite:
    """How SQLite says it: JSON and moments are text, a boolean is 0 or 1."""

    now = "'now'"

    def raw_seconds(self, start: str, end: str) -> str:
        return f"((julianday({end}) - julianday({start})) * 86400.0)"

    def seconds(self, start: str, end: str) -> str:
        # To the millisecond, which the clock keeps: a difference of Julian days has noise behind it.
        return f"round({self.raw_seconds(start, end)}, 3)"

    def at(self, column: str, path: str) -> str:
        steps = ("$." + path).replace("*", f"' || ({DATA}) || '")
        return f"{column}, '{steps}'"

    def text(self, column: str, path: str) -> str:
        at = self.at(column, path)
        return f"CASE json_type({at}) WHEN 'text' THEN json_extract({at}) END"

    def number(self, column: str, path: str, to: str = "double precision") -> str:
        at = self.at(column, path)
        return f"CASE WHEN json_type({at}) IN ('integer', 'real') THEN CAST(json_extract({at}) AS {to}) END"

    def boolean(self, column: str, path: str) -> str:
        at = self.at(column, path)
        return f"CASE WHEN json_type({at}) IN ('true', 'false') THEN json_extract({at}) END"

    def is_array(self, column: str, path: str) -> str:
        return f"json_type({self.at(column, path)}) = 'array'"

    def first_key(self, column: str, path: str) -> str:
        at = self.at(column, path)
        return f"CASE json_type({at}) WHEN 'object' THEN (SELECT e.key FROM json_each({at}) AS e LIMIT 1) END"

    def first_number(self, column: str, path: str, name: str) -> str:
        value = self.number("e.value", name)
        return f"(SELECT {value} FROM json_each({self.at(column, path)}) AS e WHERE e.type = 'object' LIMIT 1)"

    def contains(self, text: str, part: str) -> str:
        return f"instr({text}, '{part}') > 0"

    def entries(self, column: str, path: str) -> str:
        return f"json_each({self.at(column, path)}) AS e"

    entry = "CAST(e.value AS double precision)"

    def entry_kind(self, column: str, path: str) -> str:
        return f"(SELECT k.value FROM json_each({self.at(column, path)}) AS k WHERE k.key = e.key)"


class PostgreSQL:
    """How PostgreSQL says it."""

    now = "now()"

    def raw_seconds(self, start: str, end: str) -> str:
        return f"CAST(extract(epoch from ({end} - {start})) AS double precision)"

    def seconds(self, start: str, end: str) -> str:
        return self.raw_seconds(start, end)

    def at(self, column: str, path: str) -> str:
        steps = ", ".join(DATA if step == "*" else f"'{step}'" for step in path.split("."))
        return f"{column} #> ARRAY[{steps}]"

    def _as(self, column: str, path: str, kind: str, to: str) -> str:
        at = self.at(column, path)
        return f"CASE jsonb_typeof({at}) WHEN '{kind}' THEN CAST({at} #>> '{{}}' AS {to}) END"

    def text(self, column: str, path: str) -> str:
        return self._as(column, path, "string", "text")

    def number(self, column: str, path: str, to: str = "double precision") -> str:
        value = self._as(column, path, "number", "numeric")
        return f"CAST({value} AS {to})"

    def boolean(self, column: str, path: str) -> str:
        return self._as(column, path, "boolean", "boolean")

    def is_array(self, column: str, path: str) -> str:
        return f"jsonb_typeof({self.at(column, path)}) = 'array'"

    def _object(self, column: str, path: str) -> str:
        # jsonb_each refuses what is no object.
        at = self.at(column, path)
        return f"CASE jsonb_typeof({at}) WHEN 'object' THEN {at} END"

    def first_key(self, column: str, path: str) -> str:
        return f"(SELECT e.key FROM jsonb_each({self._object(column, path)}) AS e LIMIT 1)"

    def first_number(self, column: str, path: str, name: str) -> str:
        value = self.number("e.value", name)
        return f"(SELECT {value} FROM jsonb_each({self._object(column, path)}) AS e LIMIT 1)"

    def contains(self, text: str, part: str) -> str:
        return f"strpos({text}, '{part}') > 0"

    def entries(self, column: str, path: str) -> str:
        return f"LATERAL jsonb_each({self._object(column, path)}) AS e"

    entry = "CASE jsonb_typeof(e.value) WHEN 'number' THEN CAST(e.value #>> '{}' AS double precision) END"

    def entry_kind(self, column: str, path: str) -> str:
        return f"{self.at(column, path)} ->> e.key"


Dialect = SQLite | PostgreSQL


def named(on: Dialect, column: str, path: str) -> str:
    """Return SQL for the name of a Keras object in its three forms: "adam", {"Adam": {}}, {"class_name": "Adam"}."""
    forms = (on.text(column, path), on.text(column, path + ".class_name"), on.first_key(column, path))
    return f"coalesce({', '.join(forms)})"


def source(on: Dialect, place: str) -> str:
    """Return SQL for the name of a data source: a data set's, a file's, or `inline`."""
    names = ", ".join(on.text("j.spec", f"data.{place}.{key}") for key in SOURCES)
    return f"coalesce({names}, CASE WHEN {on.is_array('j.spec', f'data.{place}.x')} THEN 'inline' END)"


def learning_rate(on: Dialect) -> str:
    """Return SQL for the optimizer's learning rate, where it is given as a number."""
    path = "compile.optimizer"
    forms = on.number("j.spec", f"{path}.config.learning_rate"), on.first_number("j.spec", path, "learning_rate")
    return f"coalesce({', '.join(forms)})"


def v_jobs(on: Dialect) -> str:
    """Return the view of jobs."""
    return rf"""
        SELECT j.id AS job_id, j.kind, j.name, j.state, j.lane, j.priority, j.seed, j.attempt AS attempts, j.worker,
               j.error_code, j.error_message, j.created_at, j.queued_at, j.started_at, j.finished_at,
               {on.seconds("j.created_at", "j.started_at")} AS wait_s,
               {on.seconds("j.started_at", "j.finished_at")} AS elapsed_s,
               j.run_s,
               CASE j.state WHEN 'queued' THEN {on.seconds("j.queued_at", on.now)} END AS waiting_s,
               j.rank, j.available_at, j.memory_mb, j.retries, j.cancel_mode,
               {on.number("j.spec", "fit.epochs", "integer")} AS epochs,
               (SELECT max(m.epoch) + 1 FROM epoch_metrics AS m WHERE m.job_id = j.id) AS epochs_done,
               coalesce({on.number("j.spec", "fit.batch_size", "integer")},
                        {on.number("j.spec", "batch_size", "integer")}) AS batch_size,
               lower({named(on, "j.spec", "compile.optimizer")}) AS optimizer,
               {learning_rate(on)} AS learning_rate,
               {named(on, "j.spec", "compile.loss")} AS loss,
               {source(on, "*")} AS dataset,
               {on.text("j.spec", "data.*.split")} AS dataset_split,
               {source(on, "validation")} AS validation_dataset,
               {on.number("j.spec", "data.validation.split")} AS validation_fraction,
               i.source_job_id AS model_job_id, i.checkpoint AS model_checkpoint
        FROM jobs AS j LEFT JOIN job_inputs AS i ON i.job_id = j.id AND i.role = 'model'
        WHERE j.kind <> 'check'
    """


def v_attempts(on: Dialect) -> str:
    """Return the view of attempts."""
    return f"""
        SELECT a.job_id, a.attempt, a.worker, a.host, a.started_at, a.running_at, a.ended_at, a.outcome, a.error_code,
               a.error_message, a.resumed_epoch,
               {on.seconds("a.started_at", "a.running_at")} AS start_s,
               {on.seconds("a.running_at", "a.ended_at")} AS run_s,
               {on.seconds("a.started_at", "a.ended_at")} AS total_s,
               (SELECT count(DISTINCT m.epoch) FROM epoch_metrics AS m
                WHERE m.job_id = a.job_id AND m.attempt = a.attempt) AS epochs
        FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id WHERE j.kind <> 'check'
    """


def v_epoch_metrics(on: Dialect) -> str:  # noqa: ARG001 - all views are made alike
    """Return the view of metrics; it is as it was."""
    return "SELECT m.job_id, m.epoch, m.name, m.value, m.value_kind, m.attempt, m.recorded_at FROM epoch_metrics AS m"


def v_results(on: Dialect) -> str:
    """Return the view of results."""
    return f"""
        SELECT r.job_id, j.kind, r.attempt, r.value, r.weights_sha256, r.final_checkpoint, r.created_at,
               {on.number("r.value", "epochs", "integer")} AS epochs,
               {on.number("r.value", "steps", "bigint")} AS steps,
               {on.number("r.value", "parameters", "bigint")} AS parameters,
               {on.boolean("r.value", "stopped_early")} AS stopped_early,
               {on.number("r.value", "rows", "bigint")} AS row_count
        FROM results AS r JOIN jobs AS j ON j.id = r.job_id WHERE j.kind <> 'check'
    """


def v_job_tags(on: Dialect) -> str:  # noqa: ARG001 - all views are made alike
    """Return the view of tags."""
    return """
        SELECT t.job_id, t.key, t.value FROM job_tags AS t JOIN jobs AS j ON j.id = t.job_id WHERE j.kind <> 'check'
    """


def v_best_epoch(on: Dialect) -> str:
    """Return the view of best epochs: finite values first, then the better ones, then the earlier ones."""
    less = " OR ".join(on.contains("lower(m.name) || '.'", f"{end}.") for end in LESS)
    more = " OR ".join(on.contains("lower(m.name)", part) for part in MORE)
    return f"""
        SELECT b.job_id, b.name, b.direction, b.epoch, b.value, b.last_epoch, l.value AS last_value,
               l.value_kind AS last_value_kind
        FROM (SELECT d.job_id, d.name, d.direction, d.epoch, d.value,
                     max(d.epoch) OVER (PARTITION BY d.job_id, d.name) AS last_epoch,
                     row_number() OVER (
                         PARTITION BY d.job_id, d.name
                         ORDER BY CASE WHEN d.value IS NULL THEN 1 ELSE 0 END,
                                  CASE d.direction WHEN 'max' THEN -d.value ELSE d.value END, d.epoch) AS place
              FROM (SELECT m.job_id, m.name, m.epoch, m.value,
                           CASE WHEN {less} THEN 'min' WHEN {more} THEN 'max' ELSE 'min' END AS direction
                    FROM epoch_metrics AS m) AS d) AS b
        JOIN epoch_metrics AS l ON l.job_id = b.job_id AND l.epoch = b.last_epoch AND l.name = b.name
        WHERE b.place = 1 AND b.value IS NOT NULL
    """


def v_test_scores(on: Dialect) -> str:
    """Return the view of what evaluate jobs measured, a row for each metric."""
    return f"""
        SELECT r.job_id, i.source_job_id AS model_job_id, i.checkpoint AS model_checkpoint, e.key AS name,
               {on.entry} AS value,
               coalesce({on.entry_kind("r.value", "value_kinds")}, 'finite') AS value_kind
        FROM results AS r JOIN jobs AS j ON j.id = r.job_id AND j.kind = 'evaluate'
        LEFT JOIN job_inputs AS i ON i.job_id = r.job_id AND i.role = 'model'
        CROSS JOIN {on.entries("r.value", "metrics")}
    """


def v_checkpoints(on: Dialect) -> str:  # noqa: ARG001 - all views are made alike
    """Return the view of checkpoints."""
    return """
        SELECT c.job_id, c.name, c.attempt, c.epoch AS epochs, c.step AS steps, c.bytes, c.sha256, c.weights_sha256,
               c.monitor, c.value, c.is_best, c.created_at
        FROM checkpoints AS c
    """


def v_lineage(on: Dialect) -> str:  # noqa: ARG001 - all views are made alike
    """Return the view of which job is made from which."""
    return """
        SELECT i.job_id, j.kind, i.role, i.source_job_id, i.checkpoint, i.sha256
        FROM job_inputs AS i JOIN jobs AS j ON j.id = i.job_id
        WHERE i.source_job_id IS NOT NULL AND j.kind <> 'check'
    """


def v_queue_wait(on: Dialect) -> str:
    """Return the view of waits: an attempt waits since the job was queued, by the submit, by a retry, or again."""
    return f"""
        SELECT q.job_id, q.attempt, q.kind, q.lane, q.priority, q.waiting_since, q.claimed_at,
               {on.seconds("q.waiting_since", "q.claimed_at")} AS wait_s
        FROM (SELECT a.job_id, a.attempt, j.kind, j.lane, j.priority, a.started_at AS claimed_at,
                     CASE WHEN j.queued_at <= a.started_at AND (p.ended_at IS NULL OR j.queued_at > p.ended_at)
                          THEN j.queued_at
                          WHEN j.queued_at <= a.started_at THEN p.ended_at
                          -- A later retry by hand has set queued_at anew: the events know.
                          ELSE coalesce((SELECT max(e.at) FROM job_events AS e
                                         WHERE e.job_id = a.job_id AND e.type = 'state' AND e.at <= a.started_at
                                           AND {on.text("e.data", "state")} = 'queued'),
                                        p.ended_at, j.created_at)
                     END AS waiting_since
              FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id
              LEFT JOIN attempts AS p ON p.job_id = a.job_id AND p.attempt = a.attempt - 1
              WHERE j.kind <> 'check') AS q
    """


def v_worker_load(on: Dialect) -> str:
    """Return the view of workers: those there are, and those that only attempts still remember."""
    return f"""
        SELECT t.worker, t.host, t.version, t.state, t.slots, t.started_at, t.seen_at, t.life_s, t.attempts, t.running,
               t.succeeded, t.failed, t.busy_s,
               CASE WHEN t.life_s > 0 THEN t.busy_s / (t.life_s * t.slots) END AS busy_share
        FROM (SELECT n.worker, n.host, w.version, w.state, w.slots, w.started_at, w.seen_at,
                     {on.seconds("w.started_at", "w.seen_at")} AS life_s,
                     count(b.job_id) AS attempts,
                     coalesce(sum(b.running), 0) AS running,
                     coalesce(sum(b.succeeded), 0) AS succeeded,
                     coalesce(sum(b.failed), 0) AS failed,
                     coalesce(sum(CASE WHEN b.busy_s > 0 THEN b.busy_s END), 0.0) AS busy_s
              FROM (SELECT x.name AS worker, x.host FROM workers AS x
                    UNION SELECT y.worker, y.host FROM attempts AS y JOIN jobs AS j ON j.id = y.job_id
                    WHERE j.kind <> 'check') AS n
              LEFT JOIN workers AS w ON w.name = n.worker
              LEFT JOIN (SELECT a.worker, a.job_id,
                                CASE WHEN a.ended_at IS NULL THEN 1 ELSE 0 END AS running,
                                CASE a.outcome WHEN 'succeeded' THEN 1 ELSE 0 END AS succeeded,
                                CASE a.outcome WHEN 'failed' THEN 1 ELSE 0 END AS failed,
                                -- An attempt whose worker died ended for it with its last beat.
                                CASE WHEN a.ended_at <= s.seen_at OR s.seen_at IS NULL
                                     THEN {on.seconds("a.started_at", "a.ended_at")}
                                     ELSE {on.seconds("a.started_at", "s.seen_at")} END AS busy_s
                         FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id
                         LEFT JOIN workers AS s ON s.name = a.worker
                         WHERE j.kind <> 'check') AS b ON b.worker = n.worker
              GROUP BY n.worker, n.host, w.version, w.state, w.slots, w.started_at, w.seen_at) AS t
    """


#: Every view, each on tables alone.
VIEWS = (
    v_jobs,
    v_attempts,
    v_epoch_metrics,
    v_best_epoch,
    v_results,
    v_test_scores,
    v_checkpoints,
    v_job_tags,
    v_lineage,
    v_queue_wait,
    v_worker_load,
)


def before(on: Dialect) -> dict[str, str]:
    """Return the views of revision 0001."""
    return {
        "v_jobs": f"""
            SELECT j.id AS job_id, j.kind, j.name, j.state, j.lane, j.priority, j.seed, j.attempt AS attempts,
                   j.worker, j.error_code, j.error_message, j.created_at, j.queued_at, j.started_at, j.finished_at,
                   {on.raw_seconds("j.created_at", "j.started_at")} AS wait_s,
                   {on.raw_seconds("j.started_at", "j.finished_at")} AS elapsed_s,
                   j.run_s
            FROM jobs AS j WHERE j.kind <> 'check'
        """,
        "v_attempts": f"""
            SELECT a.job_id, a.attempt, a.worker, a.host, a.started_at, a.running_at, a.ended_at, a.outcome,
                   a.error_code, a.error_message, a.resumed_epoch,
                   {on.raw_seconds("a.started_at", "a.running_at")} AS start_s,
                   {on.raw_seconds("a.running_at", "a.ended_at")} AS run_s
            FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id WHERE j.kind <> 'check'
        """,
        "v_epoch_metrics": v_epoch_metrics(on),
        "v_results": """
            SELECT r.job_id, j.kind, r.attempt, r.value, r.weights_sha256, r.final_checkpoint, r.created_at
            FROM results AS r JOIN jobs AS j ON j.id = r.job_id WHERE j.kind <> 'check'
        """,
        "v_job_tags": "SELECT t.job_id, t.key, t.value FROM job_tags AS t",
    }


def quoted(text: str) -> str:
    """Return a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def dialect() -> Dialect:
    """Return how this database says it."""
    return PostgreSQL() if op.get_bind().dialect.name == "postgresql" else SQLite()


def comment(view: str) -> None:
    """Comment on a view and its columns, where the database keeps comments."""
    sentence, columns = COMMENTS[view]
    op.execute(sa.text(f"COMMENT ON VIEW {view} IS {quoted(sentence)}"))
    for column, said in columns.items():
        op.execute(sa.text(f"COMMENT ON COLUMN {view}.{column} IS {quoted(said)}"))


def upgrade() -> None:
    """Expand: every column of before stays, in its place."""
    on = dialect()
    for view in VIEWS:
        if isinstance(on, PostgreSQL):
            # Not dropped: who was granted the view keeps it.
            op.execute(sa.text(f"CREATE OR REPLACE VIEW {view.__name__} AS {view(on)}"))
            comment(view.__name__)
        else:
            op.execute(sa.text(f"DROP VIEW IF EXISTS {view.__name__}"))
            op.execute(sa.text(f"CREATE VIEW {view.__name__} AS {view(on)}"))


def downgrade() -> None:
    """Take it back."""
    for view in VIEWS:
        op.execute(sa.text(f"DROP VIEW {view.__name__}"))
    for name, query in before(dialect()).items():
        op.execute(sa.text(f"CREATE VIEW {name} AS {query}"))
