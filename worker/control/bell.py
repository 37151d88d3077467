"""The bell loop: rings again for jobs that wait although a slot is free. Heals every lost message."""

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


def free_slots(engine: Engine, *, lease_s: float) -> dict[str, int]:
    """Return how many more jobs of each lane the ready workers could run."""
    with db.read(engine) as connection:
        ready = [one for one in workers.alive(connection, within_s=lease_s) if one.state == "ready"]
        running = queues.running(connection)
    slots: dict[str, int] = {}
    for worker in ready:
        for lane in worker.lanes:
            slots[lane] = slots.get(lane, 0) + (1 if lane == Lane.INTERACTIVE else worker.slots)
    return {lane: max(0, count - running.get(lane, 0)) for lane, count in slots.items()}


def ring_for_waiting(engine: Engine, bell: Bell, *, lease_s: float, older_than_s: float = FORGOTTEN_S) -> int:
    """Ring once for each waiting job that a free slot could take; return how often."""
    with db.read(engine) as connection:
        waiting = queues.waiting(connection, older_than_s=older_than_s)
    if not waiting:
        return 0
    free = free_slots(engine, lease_s=lease_s)
    rings = {lane: min(count, free.get(lane, 0)) for lane, count in waiting.items()}
    for lane, count in rings.items():
        for _ in range(count):
            bell.ring(lane)
    return sum(rings.values())


def ring_here(host: Host, bell: Bell) -> None:
    """Ring this worker's own lanes while jobs wait in them: for a broker inside the process."""
    while not host.draining.wait(_HERE_S):
        try:
            ring_for_waiting(host.engine, bell, lease_s=host.settings.lease_s, older_than_s=0.0)
        except Exception as error:  # noqa: BLE001 - nobody else would ring here
            _log.warning("not rung; trying again", error=str(error).split("\n", 1)[0])
