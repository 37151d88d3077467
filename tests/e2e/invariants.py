"""What must be true of a database and its volume, whatever happened to them (docs/reliability.md)."""

from datetime import UTC, datetime, timedelta

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
    "I5 epochs that begin too late": "SELECT id, min(epoch) FROM jobs JOIN epoch_metrics ON job_id = id"
    " GROUP BY id HAVING min(epoch) <> coalesce(CAST(spec->'fit'->>'initial_epoch' AS INTEGER), 0)",
    "I5 epochs said with gaps or twice": "SELECT job_id FROM job_events GROUP BY 1 HAVING count(*) <> max(seq)",
    "I7 more faults in a row than retries": "SELECT id FROM jobs WHERE failures > retries + 1",
    "I7 attempts with gaps": "SELECT job_id FROM attempts GROUP BY 1 HAVING count(*) <> max(attempt)",
    "I8 a failure without a sentence": "SELECT id FROM jobs WHERE state = 'failed'"
    " AND (error_code IS NULL OR coalesce(error_message, '') = '')",
    "I11 an attempt without an end": "SELECT job_id, attempt FROM attempts WHERE ended_at IS NULL OR outcome IS NULL",
}


#: Those that are answered while jobs run, too.
ALWAYS = [what for what in QUESTIONS if what.partition(" ")[0] not in {"I1", "I11"}]
#: Time after a lease's end by which a reaper that lives has taken the job back.
LONG = timedelta(seconds=30)


def broken(rows, volume, *, quiet=True):
    """Return what is broken, one line each. `rows` asks the database a query; `quiet`: every job has ended."""
    return asked(rows, QUESTIONS if quiet else ALWAYS) + without_their_files(rows, volume)


def asked(rows, questions=tuple(ALWAYS)):
    """Return what the database alone shows to be broken."""
    return [f"{what}: {row}" for what in questions for row in rows(QUESTIONS[what])]


def without_their_files(rows, volume):
    """Return the rows whose files are not what they say; a file that is replaced meanwhile counts as its new row."""
    query = "SELECT path, bytes, sha256 FROM checkpoints UNION ALL SELECT path, bytes, sha256 FROM artifacts"
    found = {}
    for row in rows(query):
        try:
            store.verify(volume, StoredFile(*row))
        except CheckpointCorrupt as error:
            found[tuple(row)] = f"I6 a row without its file: {error.message}"
    still = {tuple(row) for row in rows(query)} if found else ()
    return [sentence for row, sentence in found.items() if row in still]


def forgotten(rows):
    """Return the running jobs whose lease has ended long ago: asked of a stack whose control lives."""
    return [
        f"I11 a job that runs on after its lease: {job_id}"
        for job_id, lease_until in rows("SELECT id, lease_until FROM jobs WHERE state = 'running'")
        if datetime.now(UTC) - _moment(lease_until) > LONG
    ]


def _moment(told):
    """Return a moment as PostgreSQL tells it, or SQLite: as text, in UTC."""
    return datetime.fromisoformat(told).replace(tzinfo=UTC) if isinstance(told, str) else told
