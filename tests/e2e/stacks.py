"""Real stacks, started as a user starts them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import sqlalchemy as sa

import fitq
from shared import db

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Seconds that anything here may take before the test gives up.
PATIENCE_S = 90.0

DIGITS = {
    "kind": "train",
    "name": "digits",
    "seed": 7,
    "model": {
        "layers": [
            {"Flatten": {}},
            {"Dense": {"units": 32, "activation": "relu"}},
            {"Dropout": {"rate": 0.2}},
            {"Dense": {"units": 10}},
        ],
        "input_shape": [8, 8],
    },
    "data": {
        "train": {"dataset": "digits", "split": "train"},
        "validation": {"dataset": "digits", "split": "test"},
        "scale": 0.0625,
    },
    "compile": {
        "optimizer": {"Adam": {"learning_rate": 0.001}},
        "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
        "metrics": ["accuracy"],
    },
    "fit": {"epochs": 10, "batch_size": 8},
    "resources": {"memory_mb": 700},
}


def until(condition, what, seconds=PATIENCE_S):
    """Wait for a condition and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.03)
    return value


class Stack:
    """A `fitq up` of its own home."""

    def __init__(self, home, **environment):
        self.home = Path(home)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("FITQ_") or k == "FITQ_DATASETS"},
            "FITQ_HOME": str(self.home),
            "FITQ_LEASE_S": "3",
            "FITQ_DRAIN_S": "15",
            "FITQ_SITE_PACKAGES": "fitq_faults",
            "PYTHONPATH": str(HERE / "site"),
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        self.process = None
        self.known = set()

    def start(self, *, wait=True):
        with (self.home.parent / f"{self.home.name}-up.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "standalone", "--port", "0"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if wait:
            until(lambda: self.process.poll() is not None or (self.home / "up.json").exists(), "fitq up")
            until(self.ready, "a ready worker")
        return self

    @property
    def state(self):
        return json.loads((self.home / "up.json").read_text())

    def queue(self):
        return fitq.connect(self.state["url"])

    def ready(self):
        with contextlib.suppress(fitq.errors.FitqError), self.queue() as queue:
            return any(worker["state"] == "ready" for worker in queue.workers())
        return False

    @property
    def database_url(self):
        return self.environment.get("FITQ_DATABASE_URL") or f"sqlite:///{self.home}/fitq.db"

    @property
    def broker_url(self):
        return self.environment.get("FITQ_BROKER_URL") or f"redis+socket://{self.home}/broker.sock"

    def rows(self, query, **values):
        """Ask the stack's database in SQL."""
        engine = db.connect(self.database_url)
        try:
            with db.read(engine) as connection:
                return [tuple(row) for row in connection.execute(sa.text(query), values)]
        finally:
            engine.dispose()

    def look(self):
        """Remember the processes that the stack has started until now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.known.update(psutil.Process(self.process.pid).children(recursive=True))

    def processes(self, title=""):
        """Return the living processes of this stack whose title begins so."""
        self.look()
        found = []
        for process in self.known:
            with contextlib.suppress(psutil.NoSuchProcess):
                alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
                if alive and " ".join(process.cmdline()).startswith(title):
                    found.append(process)
        return found

    def kill(self, title):
        for process in self.processes(title):
            process.kill()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def logs(self):
        return "\n".join(f"== {path}\n{path.read_text()[-4000:]}" for path in sorted(self.home.glob("logs/*.log")))


def epochs(stack, job_id):
    return [
        row[0]
        for row in stack.rows("SELECT DISTINCT epoch FROM v_epoch_metrics WHERE job_id = :id ORDER BY epoch", id=job_id)
    ]


def spec(**changes):
    """Return the digits job with some of its parts changed; dictionaries are merged."""
    merged = json.loads(json.dumps(DIGITS))
    for key, value in changes.items():
        merged[key] = (
            {**merged[key], **value} if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
        )
    return merged
