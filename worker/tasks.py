"""The one task: a bell rang, so take the best job of its lane and supervise it."""

from shared import broker
from shared.states import Lane
from worker import app as process
from worker import run


@process.app.task(name=broker.TAKE)  # type: ignore[untyped-decorator] # Celery has no types
def take(lane: str) -> None:
    """Answer a bell. One that comes twice, late or for a lane not served here does nothing."""
    if lane in process.config.lanes:
        run.take(process.host, Lane(lane))
