"""The one task: a bell rang, so wake a slot. It returns at once, and its message is acknowledged whatever runs."""

from shared import broker, failpoints
from shared.failpoints import Point
from shared.states import Lane
from worker import app as process


@process.app.task(name=broker.TAKE)  # type: ignore[untyped-decorator] # Celery has no types
def take(lane: str) -> None:
    """Answer a bell. One that comes twice, late or for a lane not served here does nothing."""
    failpoints.reach(Point.AFTER_RECEIVE_BEFORE_CLAIM)
    if lane in process.config.lanes:
        process.host.slots.ring(Lane(lane))
