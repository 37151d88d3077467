"""`python -m worker.health`: whether the worker, or control, on this machine does its work.

For a container's health check and for readiness probes. It asks the database, and a worker whose
database is away trains on: a probe that kills what fails must not ask this.
"""

import socket
import sys

import psutil

from shared import db, preflight, settings, workers
from shared.errors import Misconfigured
from shared.settings import Settings

#: The title that control gives its process.
_CONTROL = "fitq control"
#: What a worker says of itself when it runs jobs, or ends those it has.
_WORKING = {"ready", "draining"}


def check_worker(config: Settings, hostname: str) -> str | None:
    """Return what is wrong with the worker of a host; None when one was seen within the lease, ready for jobs."""
    engine = db.connect(config.database_url, pool_size=1)
    try:
        with db.read(engine) as connection:
            here = [one for one in workers.alive(connection, within_s=config.lease_s) if one.host == hostname]
    finally:
        engine.dispose()
    if not here:
        return f"no worker on {hostname} was seen in the last {config.lease_s:g} s."
    if not any(one.state in _WORKING for one in here):
        return ", ".join(f"{one.name} is {one.state}" for one in here) + "."
    return None


def check_control(config: Settings) -> str | None:
    """Return what is wrong with control on this machine; None when it is there and can reach its database."""
    if not any(_is_control(process) for process in psutil.process_iter(["cmdline", "status"])):
        return f"no process here is '{_CONTROL}'."
    engine = db.connect(config.database_url, pool_size=1)
    try:
        preflight.check(engine)
    finally:
        engine.dispose()
    return None


def _is_control(process: psutil.Process) -> bool:
    stopped = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    return (process.info["cmdline"] or [""])[0] == _CONTROL and process.info["status"] not in stopped


def main(arguments: list[str]) -> int:
    """Return 0 when all is well; 1, with a sentence on stderr, when it is not; 2 for a wrong argument."""
    if arguments not in ([], ["worker"], ["control"]):
        sys.stderr.write("usage: python -m worker.health [worker|control]\n")
        return 2
    try:
        config = settings.load()
        problem = check_control(config) if arguments == ["control"] else check_worker(config, socket.gethostname())
    except Misconfigured as error:
        problem = error.message
    except Exception as error:
        if not db.is_away(error):
            raise
        problem = "the database (FITQ_DATABASE_URL) does not answer."
    if problem:
        sys.stderr.write(f"fitq health: {problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
