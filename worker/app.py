"""The worker process: the Celery application, its signals, and what lives beside it. Imports no Keras."""

import functools
import os
import signal
import socket
import threading
import uuid
from typing import Any

from celery import signals
from setproctitle import setproctitle

from shared import broker, db, log, preflight, settings
from worker import guard, launch, run, runner_entry
from worker.control import bell
from worker.host import Host

#: Seconds between Celery's giving up and its next beginning.
_AGAIN_S = 1.0
#: Seconds that a supervisor may take to leave after the shutdown's time.
_LATE_S = 5.0

_log = log.get(__name__)

config = settings.load()
app = broker.make_app(config)
#: Set when the worker starts; tasks run in its process only.
host: Host


def main() -> None:
    """Run a worker until SIGTERM: it drains then, in at most `FITQ_DRAIN_S` seconds."""
    global host  # noqa: PLW0603 - one worker is one process
    log.configure(config, "worker")
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    engine = db.connect(config.database_url, pool_size=config.slots + 4)
    preflight.check(engine)
    broker.warn_of_eviction(app)
    settings.drop_secrets()
    guard.hide_environment()
    # From the main thread, before any other thread is there: its life hangs on the thread that starts it.
    launch.start_forkserver()
    host = Host(config, engine, name, socket.gethostname())
    host.beat.start()
    threading.Thread(target=_warm_up, args=(host,), name="warm-up", daemon=True).start()
    if config.embedded_broker:
        # No message can come from another process: the worker rings for itself.
        threading.Thread(target=bell.ring_here, args=(host, broker.Bell(app)), name="bell loop", daemon=True).start()
    try:
        _hear(_arguments(name))
    finally:
        host.drain()
        if not host.slots.close(until=host.drain_by + _LATE_S):
            _log.warning("a job was not given back in time: its lease will expire")
        host.beat.stop()
        engine.dispose()


def _hear(arguments: list[str]) -> None:
    """Hear bells until a shutdown begins. Celery gives up where a broker surprises it: then it begins anew."""
    while not host.draining.is_set():
        app.worker_main(arguments)
        if not host.draining.is_set():
            _log.warning("Celery gave up; it is started again, and jobs run on")
            host.draining.wait(_AGAIN_S)


def _arguments(name: str) -> list[str]:
    # A bell is answered where it is heard: nothing of Celery's waits for a job.
    arguments = ["--quiet", "worker", "--pool", "solo", "--hostname", name]
    arguments += ["--queues", ",".join(config.lanes), "--loglevel", "WARNING"]
    return [*arguments, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def _warm_up(host: Host) -> None:
    """Wait until runners can start; then take what waits."""
    try:
        launch.wait_until_warm(runner_entry.say_warm)
    except (RuntimeError, OSError) as error:
        _log.error("this worker cannot run jobs: ending it", reason=str(error))
        os._exit(1)
    host.ready.set()
    host.beat.tell()
    _log.info("ready", worker=host.name, lanes=",".join(config.lanes), slots=config.slots)
    host.slots.start(functools.partial(run.take, host))
    for lane in config.lanes:
        host.slots.ring(lane)


@signals.worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def _settle(**_: Any) -> None:
    """Take the name and the signals back that Celery took: whatever asks for an end gets an orderly one."""
    setproctitle(f"fitq worker {host.name}")
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(**_: Any) -> None:
    _log.info("draining: jobs checkpoint and go back to their lanes")
    host.drain()
