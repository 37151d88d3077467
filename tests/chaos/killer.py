"""A seeded random killer: takes processes and services away while jobs run."""

import contextlib
import random
import signal
import threading
import time
from collections import Counter

import psutil
import redis

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
                if getattr(self, "_" + kind.replace(" ", "_"))():
                    self.done[kind] += 1
        except Exception as error:  # noqa: BLE001 - a killer that broke must not look like a quiet one
            self.failure = error

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
        """Wait for a checkpoint's temporary file, and kill whoever writes it."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and not self._stopped.is_set():
            for writing in self._arena.volume.glob("jobs/*/*/checkpoints/.*.tmp"):
                # Its name ends with the process that writes it.
                number = writing.name.split(".")[-2]
                with contextlib.suppress(psutil.NoSuchProcess, ValueError):
                    psutil.Process(int(number)).kill()
                    return True
            time.sleep(0.001)
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
