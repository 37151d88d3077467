"""A worker claims jobs, and what it then promised them."""

import sqlalchemy as sa

from shared import db, jobs, spec
from shared.failpoints import Reached
from shared.states import Lane
from worker import run
from worker.host import Host

TINY = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
    "compile": {"loss": "mse"},
    "resources": {"memory_mb": 2048},
}


def test_a_claim_whose_commit_is_lost_keeps_no_memory(engine, settings, volume):
    host = Host(settings, engine, "w", "h")
    with db.write(engine) as connection:
        jobs.submit(connection, spec.parse(TINY))

    def lose(connection):
        raise Reached("the server went away")

    sa.event.listen(engine, "commit", lose)
    assert run._claim(host, Lane.CPU) is None
    sa.event.remove(engine, "commit", lose)

    assert host.memory._promised == {}
    assert run._claim(host, Lane.CPU).number == 1
    assert list(host.memory._promised.values()) == [2048]
