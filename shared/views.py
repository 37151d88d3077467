"""The views: the public contract for analysts, in words. What they select stands in the migrations.

`python -m shared.views` writes the part of docs/sql.md that lists them. A column, once here, stays.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

#: The part of docs/sql.md that is written from here stands between these lines.
BEGIN, END = "<!-- written by python -m shared.views -->", "<!-- end -->"


@dataclass(frozen=True)
class View:
    """One view: a sentence, and a comment for each column, in the view's order."""

    sentence: str
    columns: dict[str, str]


VIEWS = {
    "v_jobs": View(
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
            "paused": "whether it is held back until somebody resumes it",
            "parent_job_id": "the ended job whose training it goes on with",
            "deleted_at": "when its files were deleted (UTC); the history stays",
        },
    ),
    "v_attempts": View(
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
    "v_epoch_metrics": View(
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
    "v_best_epoch": View(
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
    "v_results": View(
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
    "v_test_scores": View(
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
    "v_checkpoints": View(
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
    "v_job_tags": View(
        "A row for each tag of a job.",
        {"job_id": "the job", "key": "the tag's key", "value": "the tag's value"},
    ),
    "v_lineage": View(
        "A row for each job that is made from another one's model.",
        {
            "job_id": "the job",
            "kind": "train, evaluate or predict",
            "role": "what the other job's file is to this one: model",
            "source_job_id": "the job that it is made from",
            "checkpoint": "the checkpoint of that job, pinned at the submit",
            "sha256": "SHA-256 of the checkpoint's file, pinned at the submit",
            "resumes": "whether its training goes on where the other job's stopped, optimizer and history included",
        },
    ),
    "v_queue_wait": View(
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
    "v_worker_load": View(
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


def markdown() -> str:
    """Return the views as a part of docs/sql.md."""
    parts = [BEGIN]
    for name, view in VIEWS.items():
        rows = [f"| `{column}` | {said.replace('|', chr(92) + '|')} |" for column, said in view.columns.items()]
        parts += [f"\n### {name}\n", view.sentence, "\n| column | what it holds |", "| --- | --- |", *rows]
    return "\n".join([*parts, "", END])


def written(page: str) -> str:
    """Return a page with its part about the views written anew."""
    before, _, rest = page.partition(BEGIN)
    return before + markdown() + rest.partition(END)[2]


def main() -> None:
    """Write the part of docs/sql.md anew."""
    path = Path(sys.argv[1] if sys.argv[1:] else "docs/sql.md")
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
