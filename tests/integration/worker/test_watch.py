"""What a supervisor makes of a runner that behaves badly: it always ends, and says why."""

import math
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import psutil
import pytest

from shared.jobs import Attempt, Wishes
from shared.states import CancelMode, Failure, Kind, Lane
from tests.integration.worker import runners
from worker import launch
from worker.lease import Lease
from worker.memory import Memory
from worker.report import Cancelled, FailedWith, Released, Succeeded
from worker.watch import Watch
from worker.wire import Assignment

JOB = "job_00000000-0000-7000-8000-000000000001"


@dataclass
class Listener:
    """A reporter that only listens."""

    full: bool = False
    over: str | None = None
    said: list = field(default_factory=list)

    def put(self, message, size=0):
        self.said.append(message)


@pytest.fixture(scope="module", autouse=True)
def _warm():
    launch.start_forkserver()


@pytest.fixture
def watch(tmp_path):
    """Start a runner and give its watch, lease, host and process."""
    started = []

    def begin(target, *, seed=0, **resources):
        spec = {"resources": resources}
        attempt = Attempt(JOB, 1, Kind.TRAIN, Lane.CPU, spec, None, 0, resources.get("memory_mb", 4096), 0.0, None, 0)
        assignment = Assignment(JOB, 1, "train", spec, None, seed, (), None, str(tmp_path), 1, None, 1.0)
        settings = SimpleNamespace(drain_s=2.0)
        host = SimpleNamespace(settings=settings, draining=threading.Event(), drain_by=math.inf, memory=Memory())
        lease = Lease(JOB, 1)
        running = launch.launch(target, assignment)
        started.append(running)
        return SimpleNamespace(
            host=host, lease=lease, running=running, watch=Watch(host, attempt, lease, Listener(), running)
        )

    yield begin
    for running in started:
        running.process.kill()


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        (runners.too_long, Failure.INTERNAL, "bytes"),
        (runners.nonsense, Failure.INTERNAL, "no message"),
        (runners.a_pickle, Failure.INTERNAL, "no message"),
        (runners.stops_unasked, Failure.INTERNAL, "without being asked"),
        (runners.starts_twice, Failure.INTERNAL, "twice"),
        (runners.names_anothers_file, Failure.INTERNAL, "not its attempt's"),
        (runners.climbs_out, Failure.INTERNAL, "not its attempt's"),
        (runners.calls_a_file_what_climbs, Failure.INTERNAL, "a name that is none"),
        (runners.half_a_message_then_gone, Failure.CRASHED, "status 0"),
        (runners.dies_without_a_word, Failure.CRASHED, "status 7"),
    ],
)
def test_each_misbehaviour_ends_the_attempt_with_its_reason(watch, target, code, says):
    it = watch(target)
    ending = it.watch.until_the_end()

    assert isinstance(ending, FailedWith)
    assert (ending.code, says in ending.message) == (code, True), ending
    assert gone(it.running.process.pid)


def test_what_no_database_takes_is_taken_out_of_a_failures_sentence(watch):
    ending = watch(runners.fails_with_a_long_word).watch.until_the_end()

    assert ending == FailedWith(Failure.BAD_DATA, "No such? thing.")


def test_a_runner_that_stops_in_mid_message_is_cancelled_limited_and_drained_all_the_same(watch):
    it = watch(runners.half_a_message)
    threading.Timer(0.5, lambda: setattr(it.lease, "wishes", Wishes(CancelMode.NOW, pause=False, saves=0))).start()
    assert it.watch.until_the_end() == Cancelled()

    it = watch(runners.half_a_message, time_limit_s=0.5)
    assert it.watch.until_the_end().code == Failure.TIMEOUT

    it = watch(runners.half_a_message, stall_limit_s=0.5)
    assert it.watch.until_the_end().code == Failure.STALLED

    it = watch(runners.half_a_message)
    it.host.drain_by = time.monotonic() + 1
    it.host.draining.set()
    assert it.watch.until_the_end() == Released()

    it = watch(runners.half_a_message)
    it.lease.lost = True
    assert it.watch.until_the_end() is None


@pytest.mark.parametrize(("limit", "code"), [("stall_limit_s", Failure.STALLED), ("time_limit_s", Failure.TIMEOUT)])
def test_time_in_which_the_database_is_behind_counts_towards_no_limit(watch, limit, code):
    it = watch(runners.half_a_message, **{limit: 0.6})
    it.watch._reporter.full = True
    threading.Timer(1.5, lambda: setattr(it.watch._reporter, "full", False)).start()
    began = time.monotonic()

    assert it.watch.until_the_end().code == code
    assert time.monotonic() - began > 2, "the time in which it could not be heard does not count"


def test_a_deaf_runner_of_which_checkpoints_are_asked_without_end_keeps_nobody(watch):
    it = watch(runners.half_a_message, stall_limit_s=60)
    asked = threading.Event()

    def ask():
        for saves in range(1, 5000):
            it.lease.wishes = Wishes(None, pause=False, saves=saves)
            time.sleep(0.0002)
        asked.set()

    threading.Thread(target=ask).start()
    looks = 0
    while not asked.is_set() or looks < 3000:
        assert it.watch._look() is None
        looks += 1
    it.lease.wishes = Wishes(CancelMode.NOW, pause=False, saves=5000)
    assert it.watch.until_the_end() == Cancelled()


def test_what_a_runner_started_ends_with_it(watch):
    ending = watch(runners.leaves_a_child).watch.until_the_end()

    assert isinstance(ending, Succeeded)
    until(lambda: gone(ending.finished.value["child"]))


@pytest.mark.parametrize("crashes", [False, True])
def test_what_left_the_runners_session_ends_with_it_and_another_jobs_does_not(watch, crashes):
    other = watch(runners.leaves_a_daemon)
    others = threading.Thread(target=other.watch.until_the_end)
    others.start()
    it = watch(runners.leaves_a_daemon, seed=int(crashes))
    if not crashes:
        threading.Timer(1.0, lambda: setattr(it.lease, "lost", True)).start()
    it.watch.until_the_end()
    until(lambda: other.watch._reporter.said)
    daemon, anothers = (int(one.watch._reporter.said[0].phase) for one in (it, other))
    it.running.kill()
    assert gone(daemon)
    assert not gone(anothers)

    other.lease.lost = True
    others.join()
    other.running.kill()
    assert gone(anothers)


def test_a_runner_that_dies_while_the_worker_shuts_down_is_no_fault(watch):
    it = watch(runners.dies_without_a_word)
    it.host.drain_by = time.monotonic() + 60
    it.host.draining.set()

    assert it.watch.until_the_end() == Released()


def test_a_job_that_leaves_more_than_it_may_ends(watch):
    it = watch(runners.half_a_message)
    it.watch._reporter.over = "The job leaves too much."

    assert it.watch.until_the_end() == FailedWith(Failure.DISK_LIMIT, "The job leaves too much.")
