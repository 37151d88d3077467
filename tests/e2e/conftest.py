"""Real stacks, started as a user starts them, on each backend.

Each test is asked afterwards whether an invariant was broken.
"""

from pathlib import Path

import pytest

from shared import store
from tests.e2e import invariants
from tests.e2e.backends import Embedded, Production
from tests.e2e.stacks import PATIENCE_S, Stack, spec


@pytest.fixture(scope="session", params=["embedded", "production"])
def backend(request):
    """What the stacks of a test stand on: every test here runs on both."""
    embedded = request.param == "embedded"
    found = Embedded() if embedded else Production(request.getfixturevalue("postgresql_server"))
    yield found
    found.close()


@pytest.fixture
def new_stack(backend, tmp_path_factory):
    """Make stacks that end with the test."""
    stacks = []

    def make(**environment):
        stacks.append(Stack(tmp_path_factory.mktemp("home"), **backend.environment(), **environment))
        return stacks[-1]

    yield make
    broken = []
    for stack in stacks:
        broken += alive(stack)
        stack.stop()
        broken += left(stack)
    assert broken == []


def alive(stack):
    """Return which invariants of a stack that runs are broken, as far as its database tells."""
    if stack.process is None or stack.process.poll() is not None:
        return []
    return invariants.asked(stack.rows) + invariants.forgotten(stack.rows)


def left(stack):
    """Return which invariants are broken in what a stack has left; a volume that went with its test is not asked."""
    volume = Path(stack.environment.get("FITQ_VOLUME", stack.home / "volume"))
    if stack.process is None or not store.is_there(volume):
        return []
    return invariants.broken(stack.rows, volume, quiet=False)


@pytest.fixture(scope="session")
def stack(backend, tmp_path_factory):
    """One stack for all tests that do not break it."""
    shared = Stack(tmp_path_factory.mktemp("shared-home"), **backend.environment(), FITQ_SLOTS="2").start()
    yield shared
    shared.stop()
    assert left(shared) == []


@pytest.fixture
def queue(stack):
    """The shared stack's queue."""
    with stack.queue() as found:
        yield found
    assert alive(stack) == []


@pytest.fixture(scope="session")
def undisturbed(stack):
    """The digits job, run without any disturbance: its weights and history."""
    with stack.queue() as found:
        job = found.submit(spec()).wait(PATIENCE_S).raise_for_state()
        return {"weights": job.result()["weights_sha256"], "history": job.history()}
