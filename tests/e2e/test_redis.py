"""A Redis that is not there, emptied, frozen, full or fed with rubbish: no job is lost, none runs twice."""

import json
import pickle
import signal
import time
from contextlib import contextmanager

import kombu
import psutil
import pytest
import redis

from shared import broker as bells
from shared.settings import Settings
from tests.e2e import invariants
from tests.e2e.backends import Redis
from tests.e2e.stacks import PATIENCE_S, Stack, spec, until

#: Longer than a client waits for an answer of Redis.
BEYOND_THE_TIMEOUT_S = 11.0


@pytest.fixture(scope="module")
def server():
    found = Redis()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def stack(server, tmp_path_factory):
    """A stack of one slot; its Redis is not there when it starts."""
    server.kill()
    stack = Stack(tmp_path_factory.mktemp("home"), FITQ_BROKER_URL=server.url, FITQ_SLOTS="1").start()
    yield stack
    stack.stop()


@pytest.fixture
def client(server):
    with redis.Redis(port=server.port, socket_timeout=5) as found:
        yield found


def workers(stack):
    return stack.rows("SELECT name, pid FROM workers WHERE state = 'ready'")


@pytest.fixture
def queue(stack):
    """The stack's queue; afterwards, its worker is the one that it had before and nothing is broken."""
    before = workers(stack)
    with stack.queue() as found:
        yield found
    assert workers(stack) == before
    assert invariants.broken(stack.rows, stack.home / "volume") == []


def small(queue, count=3):
    """Submit jobs; whatever the broker does, nobody waits for it."""
    return [queue.submit(spec(fit={"epochs": 1})) for _ in range(count)]


def assert_each_ran_once(jobs):
    assert [job.wait(PATIENCE_S).state for job in jobs] == ["succeeded"] * len(jobs)
    assert [job.data["attempt"] for job in jobs] == [1] * len(jobs)


@contextmanager
def a_long_job(queue):
    """Occupy the slot; afterwards it is still the first attempt."""
    job = queue.submit(spec(tags={"fault": "hang"}))
    until(lambda: job.refresh().state == "running", "the long job")
    yield
    assert (job.refresh().state, job.data["attempt"]) == ("running", 1)
    job.cancel(now=True).wait(PATIENCE_S)


def test_without_a_broker_api_and_worker_start_and_jobs_run_when_it_comes(stack, server, queue):
    jobs = small(queue)
    server.start()
    assert_each_ran_once(jobs)


def test_an_emptied_redis_delays_nobody_for_long_and_no_bell_waits_for_a_job(stack, client, queue):
    with a_long_job(queue):
        jobs = small(queue, 6)
        until(lambda: client.llen("cpu") == 0, "bells that were heard although no slot is free")
        assert client.zcard("unacked_index") == 0, "a visibility timeout has nothing to give out again"
        client.flushall()
    assert_each_ran_once(jobs)


def test_a_frozen_redis_keeps_no_submit_waiting(stack, server, queue):
    with a_long_job(queue):
        process = psutil.Process(server.process.pid)
        process.suspend()
        try:
            jobs = small(queue)
            time.sleep(BEYOND_THE_TIMEOUT_S)
            jobs += small(queue)
        finally:
            process.resume()
    assert_each_ran_once(jobs)
    assert_each_ran_once(small(queue))


def test_a_full_redis_keeps_no_submit_waiting(stack, client, queue):
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "x")
        jobs = small(queue)
    finally:
        client.config_set("maxmemory", "0")
    assert_each_ran_once(jobs)


class Harmful:
    """What makes a file when somebody unpickles it."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (str(self._path), "w")


def rubbish(path):
    """Return (body, properties) of messages that are no bells."""
    known = {"task": bells.TAKE, "id": "1", "lang": "py"}
    call = [["cpu"], {}, None]
    yield pickle.dumps(Harmful(path)), {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    yield json.dumps(call), {"headers": {**known, "task": "os.system"}}
    yield json.dumps(call), {"headers": {}}
    yield json.dumps(call), {"headers": {**known, "pad": "x" * 1_000_000}}
    yield json.dumps([["x" * 10_000_000], {}, None]), {"headers": known}
    yield json.dumps([[{"lane": "cpu"}, 2, None], {}, None]), {"headers": known}
    yield json.dumps({"task": "os.system", "args": ["touch"]}), {"headers": known}
    yield "neither JSON nor a bell", {"headers": known}
    yield json.dumps(call), {"headers": {**known, "expires": "when it is time", "eta": "never"}}


def test_messages_that_are_no_bells_run_nothing_and_stop_nobody(stack, client, queue, tmp_path):
    harm = tmp_path / "harm"
    with bells.make_app(Settings(broker_url=stack.broker_url)).connection_for_write() as connection:
        producer = kombu.Producer(connection)
        for body, properties in rubbish(harm):
            given = {"content_type": "application/json", "content_encoding": "utf-8", **properties}
            producer.publish(body, routing_key="cpu", **given)
    for raw in (b"no JSON", b"\xff\x00", b"{}", b"[]", b'{"body": 1, "properties": {}}'):
        client.lpush("cpu", raw)

    assert_each_ran_once(small(queue))
    until(lambda: client.llen("cpu") == 0, "an empty queue")
    bell = bells.Bell(bells.make_app(Settings(broker_url=stack.broker_url)))
    assert bell.ring_now("cpu")
    until(lambda: client.llen("cpu") == 0, "a bell that is heard")
    assert not harm.exists()


def test_a_frozen_redis_keeps_no_shutdown_waiting(stack, server):
    with stack.queue() as queue:
        job = queue.submit(spec(fit={"epochs": 1000}))
        until(lambda: job.refresh().data.get("progress"), "progress")
        ((_, pid),) = workers(stack)
        worker = psutil.Process(pid)
        psutil.Process(server.process.pid).suspend()
        worker.send_signal(signal.SIGTERM)
        outcome = "SELECT outcome FROM v_attempts WHERE job_id = :id AND attempt = 1"
        until(lambda: stack.rows(outcome, id=job.id) == [("released",)], "the job's release", seconds=10)
        until(lambda: not worker.is_running() or worker.status() == "zombie", "the worker's end", seconds=20)
        psutil.Process(server.process.pid).resume()
        job.cancel(now=True).wait(PATIENCE_S)


def test_a_worker_that_waits_for_its_broker_ends_in_order(stack, server):
    server.kill()
    for _ in range(2):
        # The first loses its broker, the second starts without one.
        ((name, pid),) = until(lambda: workers(stack), "a worker")
        worker = psutil.Process(pid)
        worker.terminate()
        until(lambda worker=worker: not worker.is_running() or worker.status() == "zombie", "its end", seconds=20)
        assert stack.rows("SELECT state FROM workers WHERE name = :name", name=name) == [("gone",)]
    server.start()
