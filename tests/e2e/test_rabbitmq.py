"""A RabbitMQ that waits for nobody, and one that is taken away."""

import time

import pytest

from tests.e2e.backends import RabbitMQ
from tests.e2e.stacks import PATIENCE_S, Stack, spec, until

#: Longer than the node waits for an acknowledgement, and looks whether it has waited.
BEYOND_THE_TIMEOUT_S = 5.0


@pytest.fixture(scope="module")
def node():
    found = RabbitMQ()
    yield found
    found.close()


@pytest.fixture(scope="module")
def stack(node, tmp_path_factory):
    """A stack of one slot on that node, and nothing else that could hear a bell."""
    environment = {"FITQ_BROKER_URL": node.url, "FITQ_SLOTS": "1", "FITQ_LANES": "cpu"}
    stack = Stack(tmp_path_factory.mktemp("home"), **environment).start()
    yield stack
    stack.stop()


def small(queue, count=3):
    return [queue.submit(spec(fit={"epochs": 1})) for _ in range(count)]


def assert_each_ran_once(stack, jobs):
    assert [job.wait(PATIENCE_S).state for job in jobs] == ["succeeded"] * len(jobs)
    ran = stack.rows("SELECT job_id, outcome FROM v_attempts WHERE job_id IN (SELECT job_id FROM v_results)")
    assert sorted(row for row in ran if row[0] in {job.id for job in jobs}) == sorted(
        (job.id, "succeeded") for job in jobs
    ), stack.logs()


def test_bells_behind_a_long_job_are_acknowledged_before_rabbitmq_loses_patience(stack, node):
    with stack.queue() as queue:
        long = queue.submit(spec(tags={"fault": "hang"}))
        until(lambda: long.refresh().state == "running", "the long job")
        waiting = small(queue)
        time.sleep(BEYOND_THE_TIMEOUT_S)

        unacknowledged = node.control("list_queues", "name", "messages_unacknowledged").split()
        assert dict(zip(unacknowledged[2::2], unacknowledged[3::2], strict=True))["cpu"] == "0"
        assert "timed out waiting for" not in node.log
        long.cancel(now=True).wait(PATIENCE_S)
        assert_each_ran_once(stack, waiting)


def test_connections_queues_and_the_node_itself_are_taken_away_and_all_jobs_run(stack, node):
    worker = stack.processes("fitq worker")
    with stack.queue() as queue:
        long = queue.submit(spec(tags={"fault": "hang"}))
        until(lambda: long.refresh().state == "running", "the long job")
        jobs = small(queue)
        node.control("close_all_connections", "taken away by a test")
        jobs += small(queue)
        node.control("delete_queue", "cpu")
        jobs += small(queue)
        node.kill()
        jobs += small(queue)
        node.start()
        jobs += small(queue)
        long.cancel(now=True).wait(PATIENCE_S)
        assert_each_ran_once(stack, jobs)

        assert [one.pid for one in stack.processes("fitq worker")] == [one.pid for one in worker]
        until(lambda: "1" in node.control("list_queues", "name", "consumers").split(), "a consumer")
        assert_each_ran_once(stack, small(queue))
