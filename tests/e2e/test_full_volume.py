"""A volume that fills up in the middle of a job costs the job time, and nothing else."""

import json
import subprocess
import sys

import pytest

from fitq.errors import FitqError
from tests.e2e.backends import on_postgresql
from tests.e2e.stacks import PATIENCE_S, ROOT, epochs, spec, until
from tests.integration.faults.mounts import full, in_own_mounts, small_disk

#: More than the 256 MiB that are kept free for logs and what runs.
SIZE = "330m"


def came_to(job):
    job.raise_for_state()
    return job.result()["weights_sha256"], job.history()


def outcomes(stack, job):
    return stack.rows("SELECT outcome, error_code FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job.id)


@on_postgresql
def test_a_volume_that_is_full_in_the_middle_of_a_job_costs_time_only(new_stack, tmp_path):
    def story():
        volume = small_disk(tmp_path / "volume", SIZE)
        stack = new_stack(FITQ_VOLUME=str(volume)).start()
        asked = spec(fit={"epochs": 80, "batch_size": 8}, retries=9)
        with stack.queue() as queue:
            undisturbed = came_to(queue.submit(asked).wait(PATIENCE_S))
            job = queue.submit(asked)
            until(lambda: len(epochs(stack, job.id)) >= 3, "three epochs")
            with full(volume):
                until(lambda: ("failed", "disk_full") in outcomes(stack, job), "an attempt that finds the volume full")
                with pytest.raises(FitqError, match="delete jobs"):
                    queue.submit(asked)
            assert came_to(job.wait(PATIENCE_S)) == undisturbed
            codes = {code for outcome, code in outcomes(stack, job) if outcome == "failed"}
            assert codes == {"disk_full"}
        looked = subprocess.run(
            [sys.executable, "-m", "shared.volume"], cwd=ROOT, env=stack.environment, capture_output=True, check=False
        )
        assert (looked.returncode, json.loads(looked.stdout)["findings"]) == (0, [])

    in_own_mounts(story)
