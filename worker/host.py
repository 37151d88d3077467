"""What all attempts on one worker share: its settings, slots, memory, and the beat of its leases."""

import math
import threading
import time
from typing import Any

import psutil
from sqlalchemy import Engine

from shared.settings import Settings
from shared.version import VERSION
from worker.lease import Beat
from worker.memory import Memory
from worker.slots import Slots


class Host:
    """What all attempts on one worker share."""

    def __init__(self, settings: Settings, engine: Engine, name: str, hostname: str) -> None:
        """Serve `settings.lanes` under the unique `name`; set `ready` when runners can start."""
        self.settings = settings
        self.engine = engine
        self.name = name
        self.hostname = hostname
        self.slots = Slots(settings.lanes, settings.slots)
        self.memory = Memory()
        self.ready = threading.Event()
        self.draining = threading.Event()
        #: When a shutdown must be over, by the monotonic clock; far away until one begins.
        self.drain_by = math.inf
        #: Held from the look at free memory until a job's share of it is promised.
        self.claiming = threading.Lock()
        self.beat = Beat(engine, name, lease_s=settings.lease_s, beat_s=settings.beat_s, about=self.about)

    def about(self) -> dict[str, Any]:
        """Return the worker's columns of the workers' table."""
        state = "draining" if self.draining.is_set() else "ready" if self.ready.is_set() else "warming"
        return {
            "host": self.hostname,
            "pid": psutil.Process().pid,
            "lanes": list(self.settings.lanes),
            "slots": self.settings.slots,
            "state": state,
            "free_memory_mb": self.memory.free_mb,
            "version": VERSION,
        }

    def drain(self) -> None:
        """Begin an orderly shutdown: running attempts checkpoint and release their jobs."""
        if not self.draining.is_set():
            self.drain_by = time.monotonic() + self.settings.drain_s
        self.draining.set()
        self.beat.tell()
