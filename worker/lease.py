"""Leases: this worker's right to write for the jobs it runs, renewed in one beat for all of them.

One thread per worker. Each second it asks what is wished of its jobs; each beat it renews every
lease and says that the worker is there. While the database is away it keeps trying: a lease ends
only when the database says so.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from shared import db, jobs, log, workers
from shared.jobs import NO_WISHES, Wishes

#: Seconds between two questions after cancels.
_ASK_S = 1.0

_log = log.get(__name__)


@dataclass
class Lease:
    """One attempt's lease, as last heard."""

    job_id: str
    attempt: int
    #: Another attempt owns the job: nothing may be written any more.
    lost: bool = False
    #: What somebody asked of the job.
    wishes: Wishes = NO_WISHES


class Beat:
    """Renews leases and tells of the worker until it is stopped."""

    def __init__(
        self, engine: Engine, worker: str, *, lease_s: float, beat_s: float, about: Callable[[], dict[str, Any]]
    ) -> None:
        """Beat for `worker`; `about` gives its columns of the workers' table."""
        self._engine = engine
        self._worker = worker
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._about = about
        self._leases: dict[tuple[str, int], Lease] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._soon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the worker's row says so."""
        self._stopped.set()
        self._soon.set()
        self._thread.join()
        try:
            with db.write(self._engine) as connection:
                workers.leave(connection, self._worker)
        except Exception as error:
            if not db.is_away(error):
                raise

    def tell(self) -> None:
        """Say soon what has changed about the worker."""
        self._soon.set()

    @contextmanager
    def hold(self, job_id: str, attempt: int) -> Iterator[Lease]:
        """Keep one attempt's lease alive for the length of a block."""
        lease = Lease(job_id, attempt)
        with self._lock:
            self._leases[job_id, attempt] = lease
        try:
            yield lease
        finally:
            with self._lock:
                del self._leases[job_id, attempt]

    def _run(self) -> None:
        next_beat = 0.0
        while not self._stopped.is_set():
            try:
                if time.monotonic() >= next_beat or self._soon.is_set():
                    self._soon.clear()
                    self._renew()
                    next_beat = time.monotonic() + self._beat_s
                else:
                    self._ask()
            except Exception as error:  # noqa: BLE001 - the beat of a worker ends with the worker only
                _log.warning("beat failed; trying again", error=str(error).split("\n", 1)[0], away=db.is_away(error))
            self._soon.wait(min(_ASK_S, self._beat_s))

    def _renew(self) -> None:
        with self._lock:
            leases = dict(self._leases)
        with db.write(self._engine) as connection:
            workers.beat(connection, self._worker, **self._about())
            held = jobs.renew(connection, list(leases), lease_s=self._lease_s)
        for key, lease in leases.items():
            if key in held:
                lease.wishes = held[key]
            else:
                lease.lost = True

    def _ask(self) -> None:
        with self._lock:
            leases = dict(self._leases)
        if not leases:
            return
        with db.read(self._engine) as connection:
            asked = jobs.wished(connection, worker=self._worker)
        for key, wishes in asked.items():
            if key in leases:
                leases[key].wishes = wishes
