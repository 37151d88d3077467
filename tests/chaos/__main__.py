"""`make chaos`: CHAOS_JOBS jobs (default 100) on each stack under a killer with the seed CHAOS_SEED (default: drawn).

CHAOS_STACK names one of the stacks; CHAOS_EVERY_S is the mean time between two kills.
"""

import os
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos import storm
from tests.chaos.arena import STACKS


def main():
    jobs = int(os.environ.get("CHAOS_JOBS", "100"))
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbits(31))
    every_s = float(os.environ.get("CHAOS_EVERY_S", "1.5"))
    wanted = [name for name in STACKS if os.environ.get("CHAOS_STACK", "") in name]
    outcomes = []
    for name in wanted:
        home = Path(tempfile.mkdtemp(prefix="fitq-chaos-")) / "home"
        outcomes.append(storm.run(name, home, seed=seed, jobs=jobs, every_s=every_s, say=say))
        for what in ("lost", "doubled", "different", "left"):
            for one in getattr(outcomes[-1], what)[:20]:
                say(f"{name}: {what}: {one}")
        say(f"{name}: database, volume and logs are kept in {home}")
    say(storm.table(outcomes))
    sys.exit(not all(one.well for one in outcomes))


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


main()
