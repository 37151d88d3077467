"""What must be true of a database and its volume, whatever happened to them (docs/reliability.md)."""

from shared import store
from shared.errors import CheckpointCorrupt
from shared.store import StoredFile

#: Each query finds what must not be: the id of a job comes first.
QUESTIONS = {
    "I1 a job without an end": "SELECT id, state FROM jobs WHERE state IN ('queued', 'running')",
    "I2 two successes": "SELECT job_id FROM attempts WHERE outcome = 'succeeded' GROUP BY 1 HAVING count(*) > 1",
    "I2 a success without a result": "SELECT id FROM jobs LEFT JOIN results ON job_id = id"
    " WHERE (state = 'succeeded') <> (job_id IS NOT NULL)",
    "I2 two jobs of one key": "SELECT min(id) FROM jobs WHERE idempotency_key IS NOT NULL"
    " GROUP BY idempotency_key HAVING count(*) > 1",
    "I3 a result of another attempt": "SELECT id FROM jobs JOIN results ON job_id = id"
    " WHERE results.attempt <> jobs.attempt",
    "I4 an epoch of an attempt that had lost its job": "SELECT m.job_id, m.epoch FROM epoch_metrics m"
    " JOIN attempts a ON a.job_id = m.job_id AND a.attempt = m.attempt + 1 WHERE m.recorded_at > a.started_at",
    "I4 a checkpoint of an attempt that had lost its job": "SELECT c.job_id, c.name FROM checkpoints c"
    " JOIN attempts a ON a.job_id = c.job_id AND a.attempt = c.attempt + 1 WHERE c.created_at > a.started_at",
    "I5 epochs with gaps": "SELECT job_id, name FROM epoch_metrics WHERE name = 'loss'"
    " GROUP BY job_id, name HAVING count(*) <> max(epoch) - min(epoch) + 1",
    "I5 epochs said with gaps or twice": "SELECT job_id FROM job_events GROUP BY 1 HAVING count(*) <> max(seq)",
    "I7 more faults in a row than retries": "SELECT id FROM jobs WHERE failures > retries + 1",
    "I7 attempts with gaps": "SELECT job_id FROM attempts GROUP BY 1 HAVING count(*) <> max(attempt)",
    "I8 a failure without a sentence": "SELECT id FROM jobs WHERE state = 'failed'"
    " AND (error_code IS NULL OR coalesce(error_message, '') = '')",
    "I11 an attempt without an end": "SELECT job_id, attempt FROM attempts WHERE ended_at IS NULL OR outcome IS NULL",
}


#: Those that are answered while jobs run, too.
ALWAYS = [what for what in QUESTIONS if what.partition(" ")[0] not in {"I1", "I11"}]


def broken(rows, volume, *, quiet=True):
    """Return what is broken, one line each. `rows` asks the database a query; `quiet`: every job has ended."""
    found = [f"{what}: {row}" for what in (QUESTIONS if quiet else ALWAYS) for row in rows(QUESTIONS[what])]
    for path, size, sha256 in rows("SELECT path, bytes, sha256 FROM checkpoints"):
        try:
            store.verify(volume, StoredFile(path, size, sha256))
        except CheckpointCorrupt as error:
            found.append(f"I6 a row without its file: {error.message}")
    return found
