from itertools import pairwise

from shared.states import BACKOFF_MOST_S, RETRYABLE, TERMINAL, TRANSITIONS, Failure, State, backoff_s


def test_every_state_has_its_transitions_and_success_is_final():
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.SUCCEEDED] == frozenset()
    assert {State.SUCCEEDED, State.FAILED, State.CANCELLED} == TERMINAL


def test_the_first_retry_is_at_once_and_the_later_ones_wait_longer_and_longer():
    waits = [backoff_s(failures) for failures in range(1, 12)]

    assert waits[:4] == [0.0, 10.0, 20.0, 40.0]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert max(waits) == BACKOFF_MOST_S


def test_only_the_machines_faults_are_retried():
    machine = {Failure.STALLED, Failure.CRASHED, Failure.WORKER_LOST, Failure.DISK_FULL, Failure.INTERNAL}
    assert machine == RETRYABLE
