"""How soon a job goes on after a kill, and how soon it is cancelled: `.venv/bin/python benchmarks/recovery.py`.

Real processes, default lease, two workers with one slot each. Seconds run from the signal to the moment at which
the job's code runs again (`attempts.running_at`), or to `cancelled`.
"""

import argparse
import contextlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

import fitq
from tests.e2e.backends import Cluster, Redis
from tests.e2e.stacks import ROOT, Stack, epochs, spec, until

#: Seconds that the design promises for each.
TARGETS = {
    "runner killed": 5.0,
    "worker killed": 40.0,
    "worker frozen": 40.0,
    "cancel now": 2.0,
    "… in a long step": 2.0,
}
#: A job that would train for minutes.
LONG = spec(fit={"epochs": 5000, "batch_size": 32}, retries=100, checkpoint={"every_epochs": 5})
#: One step of it takes many seconds: the matrix products of one batch of 8 wide rows.
HEAVY = spec(
    model={
        "layers": [{"Flatten": {}}, *({"Dense": {"units": 4096}} for _ in range(3)), {"Dense": {"units": 10}}],
        "input_shape": [8, 8],
    },
    fit={"epochs": 50, "batch_size": 1437},
    resources={"memory_mb": 4000},
)


@contextlib.contextmanager
def stacks(*, production: bool, lease_s: float) -> Iterator[Stack]:
    """Start a stack and a second worker beside its own."""
    home = Path(tempfile.mkdtemp(prefix="fitq-recovery-")) / "home"
    home.mkdir()
    with contextlib.ExitStack() as closing:
        urls = {}
        if production:
            cluster, broker = Cluster(), Redis()
            closing.callback(cluster.close)
            closing.callback(broker.kill)
            urls = {"FITQ_DATABASE_URL": cluster.url, "FITQ_BROKER_URL": broker.url}
        stack = Stack(home, **urls, FITQ_LEASE_S=str(lease_s), FITQ_SLOTS="1").start()
        closing.callback(stack.stop)
        yield stack


class Workers:
    """Both workers: the stack's, which `fitq up` starts again, and one that this script starts again."""

    def __init__(self, stack: Stack) -> None:
        """Start the second worker of a stack."""
        self._stack = stack
        self._second: subprocess.Popen[bytes] | None = None
        self.both()

    def both(self) -> None:
        """Wait until both are ready, starting the second one again if it is dead."""
        if self._second is None or self._second.poll() is not None:
            environment = {**self._stack.environment, "FITQ_BROKER_URL": self._stack.broker_url}
            self._second = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        ready = "SELECT count(*) FROM workers WHERE state = 'ready'"
        until(lambda: self._stack.rows(ready)[0][0] >= 2, "two workers")  # noqa: PLR2004

    def holder(self, job_id: str) -> psutil.Process:
        """Return the worker that runs a job."""
        query = "SELECT w.pid FROM workers w JOIN jobs j ON j.worker = w.name WHERE j.id = :id"
        return psutil.Process(self._stack.rows(query, id=job_id)[0][0])

    def stop(self) -> None:
        """End the second worker."""
        if self._second:
            self._second.terminate()
            self._second.wait(60)


def training(stack: Stack, queue: fitq.Queue) -> fitq.Job:
    """Submit a long job and wait for its second epoch."""
    job = queue.submit(LONG)
    until(lambda: len(epochs(stack, job.id)) > 1, "two epochs")
    return job


def runs_again(stack: Stack, job_id: str, since: float) -> float:
    """Wait for the second attempt's own code; return the seconds since the kill."""
    query = "SELECT 1 FROM attempts WHERE job_id = :id AND attempt = 2 AND running_at IS NOT NULL"
    until(lambda: stack.rows(query, id=job_id), "the second attempt", seconds=120)
    return time.monotonic() - since


def resumed(stack: Stack, queue: fitq.Queue, kill: Callable[[str], None]) -> float:
    """Kill something under a long job; return how long it stood still."""
    job = training(stack, queue)
    began = time.monotonic()
    kill(job.id)
    seconds = runs_again(stack, job.id, began)
    job.cancel(now=True).wait(60)
    return seconds


def cancelled(job: fitq.Job) -> float:
    """Cancel at once; return the seconds until that is said."""
    began = time.monotonic()
    job.cancel(now=True)
    until(lambda: job.refresh().state == "cancelled", "cancelled")
    return time.monotonic() - began


def in_a_step(stack: Stack, queue: fitq.Queue) -> fitq.Job:
    """Submit a heavy job and wait until its first step is under way."""
    job = queue.submit(HEAVY)
    running = "SELECT 1 FROM attempts WHERE job_id = :id AND running_at IS NOT NULL"
    until(lambda: stack.rows(running, id=job.id), "a running job")
    time.sleep(3)
    return job


def measure(stack: Stack, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round, by what was done."""
    workers = Workers(stack)
    found: dict[str, list[float]] = {name: [] for name in TARGETS}
    frozen: list[psutil.Process] = []

    def freeze(job_id: str) -> None:
        frozen.append(workers.holder(job_id))
        frozen[-1].suspend()

    kills: dict[str, Callable[[str], None]] = {
        "runner killed": lambda job_id: stack_runner(workers, job_id).send_signal(signal.SIGKILL),
        "worker killed": lambda job_id: workers.holder(job_id).kill(),
        "worker frozen": freeze,
    }
    try:
        with stack.queue() as queue:
            for number in range(rounds):
                for name, kill in kills.items():
                    workers.both()
                    found[name].append(resumed(stack, queue, kill))
                    while frozen:
                        frozen.pop().resume()
                workers.both()
                found["cancel now"].append(cancelled(training(stack, queue)))
                found["… in a long step"].append(cancelled(in_a_step(stack, queue)))
                sys.stderr.write(f"round {number + 1} of {rounds}\n")
    finally:
        workers.stop()
    return found


def stack_runner(workers: Workers, job_id: str) -> psutil.Process:
    """Return the runner of a job: a child of its worker's forkserver."""
    children = workers.holder(job_id).children(recursive=True)
    return next(one for one in children if " ".join(one.cmdline()).startswith(f"fitq runner {job_id}"))


def main() -> None:
    """Print a table of seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lease-s", type=float, default=30.0)
    parser.add_argument("--production", action="store_true", help="PostgreSQL and Redis instead of SQLite and Valkey")
    options = parser.parse_args()
    with stacks(production=options.production, lease_s=options.lease_s) as stack:
        found = measure(stack, options.rounds)
    print(
        f"| {'PostgreSQL + Redis' if options.production else 'SQLite + Valkey'} | median s | longest s | promised s |"
    )
    print("| --- | --- | --- | --- |")
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | {TARGETS[name]:g} |")


if __name__ == "__main__":
    main()
