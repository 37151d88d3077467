"""Bells, and the threads that they wake."""

import queue
import threading
import time

import pytest

from shared.states import Lane
from worker.slots import Slots

PATIENCE_S = 10.0


class Work:
    """What the threads do: each look waits until the test lets it go on."""

    def __init__(self):
        self.looks = queue.Queue()
        self.go_on = threading.Semaphore(0)

    def __call__(self, lane):
        self.looks.put(lane)
        assert self.go_on.acquire(timeout=PATIENCE_S)

    def begun(self):
        return self.looks.get(timeout=PATIENCE_S)

    @property
    def idle(self):
        return self.looks.empty()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def slots(work):
    """Two ordinary slots, and the interactive one."""
    found = Slots([Lane.CPU, Lane.GPU, Lane.INTERACTIVE], 2)
    found.start(work)
    yield found
    work.go_on.release(100)
    assert found.close(until=time.monotonic() + PATIENCE_S)


def ring(slots, lane, times=1):
    """Ring; whoever rings is never kept waiting, or a broker would be, and a test that holds its jobs for ever."""
    for _ in range(times):
        slots.ring(lane)


def test_a_bell_wakes_one_slot_and_a_busy_worker_keeps_nobody_waiting(slots, work):
    ring(slots, Lane.CPU)
    assert work.begun() == Lane.CPU
    ring(slots, Lane.CPU, times=1000)
    assert work.begun() == Lane.CPU
    assert work.idle, "both slots are busy"

    ring(slots, Lane.INTERACTIVE)
    assert work.begun() == Lane.INTERACTIVE, "it has a slot of its own"


def test_a_bell_that_rings_while_all_are_busy_is_answered_by_the_first_that_is_free(slots, work):
    ring(slots, Lane.CPU, times=2)
    assert [work.begun(), work.begun()] == [Lane.CPU, Lane.CPU]
    ring(slots, Lane.GPU)
    assert work.idle

    work.go_on.release()
    assert work.begun() == Lane.GPU


def test_a_thousand_bells_make_each_slot_look_once_more_and_no_oftener(slots, work):
    ring(slots, Lane.CPU, times=2)
    assert [work.begun(), work.begun()] == [Lane.CPU, Lane.CPU]
    ring(slots, Lane.CPU, times=1000)
    work.go_on.release(100)
    assert [work.begun(), work.begun()] == [Lane.CPU, Lane.CPU]
    ring(slots, Lane.INTERACTIVE)

    assert work.begun() == Lane.INTERACTIVE
    assert work.idle


def test_a_lane_that_is_not_served_here_wakes_nobody(work):
    slots = Slots([Lane.GPU], 1)
    slots.start(work)
    ring(slots, Lane.CPU)
    ring(slots, Lane.INTERACTIVE)
    ring(slots, Lane.GPU)
    assert work.begun() == Lane.GPU
    work.go_on.release()

    assert slots.close(until=time.monotonic() + PATIENCE_S)
    assert work.idle


def test_a_slot_survives_what_its_work_raises():
    heard = queue.Queue()

    def fail(lane):
        heard.put(lane)
        raise RuntimeError("on purpose")

    slots = Slots([Lane.CPU], 1)
    slots.start(fail)
    for _ in range(3):
        ring(slots, Lane.CPU)
        assert heard.get(timeout=PATIENCE_S) == Lane.CPU

    assert slots.close(until=time.monotonic() + PATIENCE_S)


def test_a_shutdown_waits_for_what_runs_but_not_for_ever(work):
    slots = Slots([Lane.CPU, Lane.INTERACTIVE], 3)
    slots.start(work)
    ring(slots, Lane.CPU)
    work.begun()
    assert not slots.close(until=time.monotonic() + 0.2), "its job has not ended"

    work.go_on.release()
    assert slots.close(until=time.monotonic() + PATIENCE_S)
    assert work.idle, "nobody looks for a job after that"


def test_bells_from_before_the_start_are_answered(work):
    slots = Slots([Lane.CPU], 1)
    ring(slots, Lane.CPU, times=5)
    slots.start(work)

    assert work.begun() == Lane.CPU
    work.go_on.release()
    assert slots.close(until=time.monotonic() + PATIENCE_S)
