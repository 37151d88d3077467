"""The bell loop: rings again for jobs that wait although a slot is free. Heals every lost message."""

from collections import Counter

from sqlalchemy import Engine

from shared import db, log, queues, workers
from shared.broker import Bell
from shared.states import Lane
from worker.host import Host

#: A job that waits for longer has been forgotten by its bell.
FORGOTTEN_S = 2.0
#: Seconds between two rounds where the worker rings for itself.
_HERE_S = 0.1

_log = log.get(__name__)


def listeners(engine: Engine, *, lease_s: float) -> dict[str, int]:
    """Return how many ready workers hear the bell of each lane in which one of them has a free slot."""
    with db.read(engine) as connection:
        ready = [one for one in workers.alive(connection, within_s=lease_s) if one.state == "ready"]
        running = queues.running(connection, workers={one.name for one in ready})
    heard: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for worker in ready:
        for lane in worker.lanes:
            heard[lane] += 1
            slots[lane] += 1 if lane == Lane.INTERACTIVE else worker.slots
    return {lane: count for lane, count in heard.items() if slots[lane] > running.get(lane, 0)}


def ring_for_waiting(engine: Engine, bell: Bell, *, lease_s: float, older_than_s: float = FORGOTTEN_S) -> int:
    """Ring once for each worker that may have a free slot for a waiting job; return how often.

    A broker hands bells out in turn, also to workers that are busy. One is enough for all slots of a
    worker, since whoever finds a job wakes the next slot.
    """
    with db.read(engine) as connection:
        waiting = queues.waiting(connection, older_than_s=older_than_s)
    if not waiting:
        return 0
    heard = listeners(engine, lease_s=lease_s)
    rings = [lane for lane in waiting for _ in range(heard.get(lane, 0))]
    for lane in rings:
        bell.ring(lane)
    return len(rings)


def ring_here(host: Host, bell: Bell) -> None:
    """Ring this worker's own lanes while jobs wait in them: for a broker inside the process."""
    while not host.draining.wait(_HERE_S):
        try:
            ring_for_waiting(host.engine, bell, lease_s=host.settings.lease_s, older_than_s=0.0)
        except Exception as error:  # noqa: BLE001 - nobody else would ring here
            _log.warning("not rung; trying again", error=str(error).split("\n", 1)[0])
