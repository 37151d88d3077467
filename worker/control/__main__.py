"""`python -m worker.control`: the bell loop, the reaper and the pruner, in one process.

Two of them at once do no harm: each statement takes what the other has left.
"""

import signal
import threading
from collections.abc import Callable

from setproctitle import setproctitle

from shared import broker, db, log, preflight, settings
from worker.control import bell, pruner
from worker.control.reaper import Reaper

#: Seconds between two rounds of the pruner.
PRUNE_S = 300.0
#: Seconds between two looks at how full the volume is.
EVICT_S = 30.0
#: Seconds between two looks at every file of every job.
SWEEP_S = 3600.0

_log = log.get(__name__)


def main() -> None:
    """Run the loops until SIGTERM or Ctrl-C."""
    config = settings.load()
    log.configure(config, "control")
    setproctitle("fitq control")
    engine = db.connect(config.database_url, pool_size=4)
    preflight.check(engine)
    rings = broker.Bell(broker.make_app(config))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    reap_s = min(5.0, config.beat_s)
    keep_s = config.upload_keep_days * 86_400
    reaper = Reaper(engine, rings, lease_s=config.lease_s, every_s=reap_s)
    most = config.volume_max_bytes
    loops = [
        _loop("bell", stopped, config.bell_s, lambda: bell.ring_for_waiting(engine, rings, lease_s=config.lease_s)),
        _loop("reaper", stopped, reap_s, reaper.round, on_error=reaper.forgive),
        _loop("pruner", stopped, PRUNE_S, lambda: pruner.prune(engine, config.volume_path)),
        _loop("evicter", stopped, EVICT_S, lambda: pruner.evict(engine, config.volume_path, most_bytes=most)),
        _loop("sweeper", stopped, SWEEP_S, lambda: pruner.sweep(engine, config.volume_path)),
        _loop("uploads", stopped, PRUNE_S, lambda: pruner.prune_uploads(engine, config.volume_path, keep_s=keep_s)),
    ]
    stopped.wait()
    for thread in loops:
        thread.join(5)
    engine.dispose()


def _loop(
    name: str,
    stopped: threading.Event,
    every_s: float,
    work: Callable[[], object],
    *,
    on_error: Callable[[], None] = lambda: None,
) -> threading.Thread:
    """Do `work` every so many seconds in a thread; an error is a log line and the next round."""

    def run() -> None:
        while not stopped.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a control loop outlives whatever one round met
                _log.warning("round failed; trying again", loop=name, error=str(error).split("\n", 1)[0])
                on_error()
            stopped.wait(every_s)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    preflight.exit_with_reason("fitq control", main)
