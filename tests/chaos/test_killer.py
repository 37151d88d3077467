"""Each thing that the killer can do is done to a living stack: a killer that misses would make a storm look calm."""

import pytest

from tests.chaos.arena import STACKS, Arena
from tests.chaos.killer import WEIGHTS, Killer
from tests.e2e.stacks import spec, until

#: What dies of each; where nothing does, the stack lives on without it.
VICTIMS = {
    "runner killed": "fitq runner",
    "runner killed while it saves": "fitq runner",
    "worker killed": "fitq worker",
    "worker asked to end": "fitq worker",
    "forkserver killed": "fitq forkserver",
    "control killed": "fitq control",
    "api killed": "fitq api",
}


def living(arena):
    return {title: set(arena.processes(title)) for title in {*VICTIMS.values()}}


@pytest.mark.timeout(300)
def test_each_thing_that_the_killer_can_do_hits(tmp_path):
    endless = spec(fit={"epochs": 100_000}, retries=1000)
    with Arena(STACKS[1], tmp_path / "home") as arena:
        until(arena.stack.ready, "a ready worker")
        with arena.queue() as queue:
            jobs = [queue.submit(endless).id for _ in range(3)]
        killer = Killer(arena, seed=1, every_s=1)
        for kind in WEIGHTS:
            until(lambda: all(living(arena).values()), "a whole stack")
            before = living(arena)
            until(lambda kind=kind: killer.strike(kind), f"{kind}")
            if title := VICTIMS.get(kind):
                until(lambda b=before, t=title: b[t] - living(arena)[t], f"{kind}: {title} is gone")
        until(lambda: arena.rows("SELECT id FROM jobs WHERE state = 'running'"), "a running job")
        assert {row[0] for row in arena.rows("SELECT id FROM jobs WHERE state IN ('queued', 'running')")} == {*jobs}
