"""Two workers and fifty jobs."""

import subprocess
import sys

from tests.e2e.stacks import PATIENCE_S, ROOT, spec, until


def test_fifty_jobs_run_once_each_on_both_workers_in_the_order_of_rank(stack, queue):
    # Nobody serves the lane yet, so that all of them wait before the first is taken.
    jobs = [
        queue.submit(
            spec(
                name=f"small-{n}", fit={"epochs": 1, "batch_size": 256}, priority=(n * 7) % 5, resources={"lane": "gpu"}
            )
        )
        for n in range(50)
    ]
    environment = {**stack.environment, "FITQ_LANES": "gpu", "FITQ_SLOTS": "1", "FITQ_BROKER_URL": stack.broker_url}
    workers = [subprocess.Popen([sys.executable, "-m", "worker"], cwd=ROOT, env=environment) for _ in range(2)]
    try:
        ids = {job.id for job in jobs}
        done = "SELECT count(*) FROM v_jobs WHERE lane = 'gpu' AND state = 'succeeded'"
        until(lambda: stack.rows(done) == [(50,)], "fifty jobs", seconds=2 * PATIENCE_S)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)

    attempts = stack.rows(
        "SELECT a.job_id, a.worker FROM v_attempts a JOIN v_jobs j USING (job_id) WHERE j.lane = 'gpu'"
    )
    assert len(attempts) == 50
    assert {job_id for job_id, _ in attempts} == ids
    assert len({worker for _, worker in attempts}) == 2
    claimed = [row[0] for row in stack.rows("SELECT id FROM jobs WHERE lane = 'gpu' ORDER BY started_at, rank")]
    ranked = [row[0] for row in stack.rows("SELECT id FROM jobs WHERE lane = 'gpu' ORDER BY rank, id")]
    assert claimed == ranked
