"""Other brokers than Redis: a bell is a bell."""

import os
import socket

import pytest

from tests.e2e import invariants
from tests.e2e.stacks import PATIENCE_S, Stack, spec, until
from tests.lacking import lacking

RABBITMQ = os.environ.get("FITQ_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture(params=["amqp", "memory"])
def broker_url(request):
    """A RabbitMQ, and the broker of a machine that has none."""
    if request.param == "memory":
        return "memory://"
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=5).close()
    except OSError as error:
        lacking(f"no RabbitMQ: {error}")
    return RABBITMQ


def test_a_job_runs_over_any_broker(broker_url, tmp_path):
    stack = Stack(tmp_path / "home", FITQ_BROKER_URL=broker_url)
    stack.home.mkdir()
    stack.start()
    try:
        with stack.queue() as queue:
            jobs = [queue.submit(spec(fit={"epochs": 1})) for _ in range(3)]
            assert [job.wait(PATIENCE_S).state for job in jobs] == ["succeeded"] * 3
            assert [job.data["attempt"] for job in jobs] == [1, 1, 1]
        assert not stack.processes("valkey-server")
    finally:
        stack.stop()


def test_a_stack_without_a_broker_that_is_killed_with_jobs_waiting_runs_them_when_it_is_back(tmp_path):
    stack = Stack(tmp_path / "home", FITQ_BROKER_URL="memory://")
    stack.home.mkdir()
    stack.start()
    try:
        with stack.queue() as queue:
            ids = [queue.submit(spec(fit={"epochs": 1})).id for _ in range(12)]
        stack.look()
        stack.process.kill()
        stack.process.wait()
        until(lambda: not stack.processes(""), "the end of every child")
        stack.start()
        with stack.queue() as queue:
            assert [queue.job(one).wait(PATIENCE_S).state for one in ids] == ["succeeded"] * len(ids)
        assert invariants.broken(stack.rows, stack.home / "volume") == []
    finally:
        stack.stop()
