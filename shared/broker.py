"""The bell: Celery messages that say only that a lane has work.

A message may be lost, late or doubled, and nothing breaks: SQL is the truth. So it is sent once,
with short time-outs, and a failure is a log line.
"""

import queue
import threading
from typing import Any

from celery import Celery

from shared import log
from shared.settings import Settings

#: The one task's name; the message's only argument is the lane.
TAKE = "fitq.take"
#: Seconds after which nobody needs an unread bell, by RabbitMQ's clock (Redis keeps it): the bell loop has rung
#: again by then. Never Celery's `expires`, which compares the clocks of two machines.
BELL_EXPIRES_S = 60
#: Rings that may wait for a slow broker; more are dropped, and the bell loop makes them good.
_WAITING_RINGS = 1000

_log = log.get(__name__)


def make_app(settings: Settings, name: str = "fitq") -> Celery:
    """Return the Celery application, configured for bells that are acknowledged early."""
    app = Celery(name, broker=settings.broker_url)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue="cpu",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        # Nothing runs in Celery that could be cancelled; the default says so at each loss of a connection.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=4,
        broker_transport_options=_transport_options(settings),
    )
    return app


def _transport_options(settings: Settings) -> dict[str, Any]:
    if settings.embedded_broker:
        return {"polling_interval": 0.05}
    if settings.broker_url.startswith("redis"):
        # Acknowledged early, a message is never out for long: the visibility time-out decides nothing.
        return {
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": not settings.broker_url.startswith("redis+socket"),
            "health_check_interval": 10,
            "retry_on_timeout": True,
        }
    return {"confirm_publish": True}


def warn_of_eviction(app: Celery) -> None:
    """Say so when a Redis may throw bells away to make room; the bell loop would ring again, but late."""
    try:
        with app.connection_for_write() as connection:
            if connection.transport.driver_type != "redis":
                return
            policy = connection.default_channel.client.config_get("maxmemory*")
    except Exception as error:  # noqa: BLE001 - a broker that is away or forbids the question stops nobody
        _log.info("the broker was not asked for its eviction policy", error=str(error))
        return
    if policy.get("maxmemory") != "0" and policy.get("maxmemory-policy") != "noeviction":
        _log.warning(
            "the broker evicts keys when its memory is full: bells will be late. Set maxmemory-policy noeviction",
            policy=policy.get("maxmemory-policy"),
        )


class Bell:
    """Rings lanes off the caller's thread, best-effort."""

    def __init__(self, app: Celery) -> None:
        """Ring through `app`; the thread starts with the first ring, so that a fork before it is well."""
        self._app = app
        self._rings: queue.Queue[str] = queue.Queue(_WAITING_RINGS)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ring(self, lane: str) -> None:
        """Say that `lane` has work. Return at once; never raise for the broker's sake."""
        self._start()
        try:
            self._rings.put_nowait(lane)
        except queue.Full:
            _log.warning("bell dropped; the bell loop will ring", lane=lane)

    def ring_now(self, lane: str) -> bool:
        """Ring on this thread; return whether the broker took it."""
        try:
            self._app.send_task(
                TAKE, args=[lane], queue=lane, expiration=BELL_EXPIRES_S, retry=False, ignore_result=True
            )
        except Exception as error:  # noqa: BLE001 - whatever a broker's client raises, the bell loop heals
            _log.warning("bell not rung; the bell loop will ring", lane=lane, error=str(error))
            return False
        return True

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self.ring_now(self._rings.get())
