"""Training while PostgreSQL is stopped: `.venv/bin/python benchmarks/outage.py --seconds 180`.

A job trains; its database is stopped for so long and started again. Printed are the seconds of an epoch before,
during and after, read from when the checkpoints were written, and whether every row arrived, each once.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.e2e.backends import Cluster, Redis
from tests.e2e.stacks import Stack, epochs, spec, until


class Watched:
    """The moments at which a job's checkpoints appear on the volume; retention may take the files away again."""

    def __init__(self, volume: Path, job_id: str) -> None:
        """Watch from now on, in a thread."""
        self._folder = volume / "jobs" / job_id
        self._written: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            for file in self._folder.glob("*/checkpoints/epoch-*"):
                self._written.setdefault(str(file), time.time())

    def stop(self) -> list[float]:
        """Return the moments, in order."""
        self._ended.set()
        self._thread.join()
        return sorted(self._written.values())


def lengths(moments: list[float], since: float, until_: float) -> list[float]:
    """Return the seconds between neighbours among the moments of a time."""
    inside = [one for one in moments if since <= one <= until_]
    return [after - before for before, after in itertools.pairwise(inside)]


def main() -> None:
    """Print the seconds of an epoch, and what arrived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long the database is away")
    parser.add_argument("--around", type=float, default=20.0, help="seconds of training before and after")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="fitq-outage-")) / "home"
    home.mkdir()
    cluster, broker = Cluster(), Redis()
    stack = Stack(home, FITQ_DATABASE_URL=cluster.url, FITQ_BROKER_URL=broker.url, FITQ_LEASE_S="30", FITQ_SLOTS="1")
    stack.start()
    try:
        with stack.queue() as queue:
            job = queue.submit(spec(fit={"epochs": 1_000_000, "batch_size": 2}))
            watched = Watched(home / "volume", job.id)
            until(lambda: len(epochs(stack, job.id)) > 1, "two epochs")
            begun = time.time()
            time.sleep(options.around)
            cluster.stop()
            stopped = time.time()
            sys.stderr.write(f"PostgreSQL is stopped for {options.seconds:g} s\n")
            time.sleep(options.seconds)
            started = time.time()
            cluster.start()
            time.sleep(options.around)
            until(stack.ready, "the API")
            job.cancel().wait(120)
            moments = watched.stop()
            report(stack, job.id, moments, (begun, stopped, started, started + options.around))
    finally:
        stack.stop()
        broker.kill()
        cluster.close()


def report(stack: Stack, job_id: str, moments: list[float], times: tuple[float, float, float, float]) -> None:
    """Print what was seen."""
    begun, stopped, started, ended = times
    apart = {
        "before": lengths(moments, begun, stopped),
        "while it was away": lengths(moments, stopped, started),
        "after": lengths(moments, started, ended),
    }
    usual = statistics.median(apart["before"])
    print("| | epochs | median s | ratio |\n| --- | --- | --- | --- |")
    for name, seconds in apart.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {len(seconds) + 1} | {middle:.3f} | {middle / usual:.2f} |")
    rows = [
        row[0] for row in stack.rows("SELECT epoch FROM epoch_metrics WHERE job_id = :id AND name = 'loss'", id=job_id)
    ]
    attempts = stack.rows("SELECT count(*) FROM attempts WHERE job_id = :id", id=job_id)[0][0]
    once = sorted(rows) == list(range(len(moments)))
    print(
        f"\n{len(moments)} epochs were trained by {attempts} attempt(s); their {len(rows)} rows stand once each: {once}"
    )


if __name__ == "__main__":
    main()
