"""A seeded random killer: takes processes and services away while jobs run."""

import contextlib
import random
import signal
import threading
import time
from collections import Counter

import psutil
import redis

from shared import store

#: What is done to a stack, and how often in proportion: a worker takes seconds to be warm again, a runner none.
WEIGHTS = {
    "runner killed": 50,
    "runner killed while it saves": 14,
    "worker killed": 5,
    "worker stopped past its lease": 4,
    "worker asked to end": 4,
    "forkserver killed": 3,
    "control killed": 6,
    "api killed": 6,
    "broker killed": 4,
    "broker emptied": 6,
    "database restarted": 3,
}


class Killer:
    """Kills in a thread, one thing after another, until it is told to stop. The same seed makes the same plan."""

    def __init__(self, arena, *, seed, every_s):
        self._arena = arena
        self._random = random.Random(seed)
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")
        #: How often each thing was really done.
        self.done = Counter()
        self.failure = None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End, with everything that was stopped going again."""
        self._stopped.set()
        self._thread.join()
        if self.failure:
            raise self.failure

    def _run(self):
        kinds = [kind for kind in WEIGHTS if kind != "database restarted" or self._arena.cluster]
        weights = [WEIGHTS[kind] for kind in kinds]
        try:
            while not self._stopped.wait(self._random.expovariate(1 / self._every_s)):
                kind = self._random.choices(kinds, weights)[0]
                if self.strike(kind):
                    self.done[kind] += 1
        except Exception as error:  # noqa: BLE001 - a killer that broke must not look like a quiet one
            self.failure = error

    def strike(self, kind):
        """Do one of WEIGHTS, now; return whether there was something to do it to."""
        return getattr(self, "_" + kind.replace(" ", "_"))()

    # --- each returns whether there was something to do it to ---

    def _one(self, title):
        found = self._arena.processes(title)
        return self._random.choice(sorted(found, key=lambda one: one.pid)) if found else None

    def _signal(self, title, number):
        victim = self._one(title)
        if victim is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(number)
            return True
        return False

    def _runner_killed(self):
        return self._signal("fitq runner", signal.SIGKILL)

    def _runner_killed_while_it_saves(self):
        """Wait for a checkpoint's temporary file, and kill the runner that writes it."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and not self._stopped.is_set():
            runners = self._runners()
            until = time.monotonic() + 0.2
            while time.monotonic() < until:
                for folder, runner in runners:
                    if writing := next(folder.glob(".*.tmp"), None):
                        return self._killed_within(writing, runner)
                time.sleep(0.001)
        return False

    def _runners(self):
        """Return each living runner with the folder of its checkpoints: its title names job and attempt."""
        found = []
        for one in self._arena.processes("fitq runner"):
            with contextlib.suppress(psutil.NoSuchProcess):
                job_id, attempt = " ".join(one.cmdline()).split()[2:4]
                folder = store.attempt_folder(job_id, int(attempt.removeprefix("#")))
                found.append((self._arena.volume / folder / "checkpoints", one))
        return found

    def _killed_within(self, writing, runner):
        """Kill a runner; return whether it was within the writing of that file, which is left then."""
        with contextlib.suppress(psutil.NoSuchProcess):
            runner.kill()
            with contextlib.suppress(psutil.TimeoutExpired):
                runner.wait(2)
            if writing.exists():
                return True
            self.done["runner killed"] += 1
        return False

    def _worker_killed(self):
        return self._signal("fitq worker", signal.SIGKILL)

    def _worker_asked_to_end(self):
        return self._signal("fitq worker", signal.SIGTERM)

    def _forkserver_killed(self):
        return self._signal("fitq forkserver", signal.SIGKILL)

    def _worker_stopped_past_its_lease(self):
        """Freeze a worker until its jobs were taken over, then let it wake."""
        victim = self._one("fitq worker")
        if victim is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.suspend()
            try:
                self._stopped.wait(self._arena.lease_s * 2.5)
            finally:
                victim.resume()
            return True
        return False

    def _control_killed(self):
        return self._signal("fitq control", signal.SIGKILL)

    def _api_killed(self):
        return self._signal("fitq api", signal.SIGKILL)

    def _broker_killed(self):
        return self._arena.kill_broker()

    def _broker_emptied(self):
        with contextlib.suppress(redis.RedisError, OSError), self._arena.redis() as client:
            client.flushall()
            return True
        return False

    def _database_restarted(self):
        self._arena.cluster.stop()
        self._stopped.wait(self._random.uniform(0.2, 3.0))
        self._arena.cluster.start()
        return True
