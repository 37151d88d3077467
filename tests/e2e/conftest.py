"""Real stacks, started as a user starts them, on each backend."""

import pytest

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
    for stack in stacks:
        stack.stop()


@pytest.fixture(scope="session")
def stack(backend, tmp_path_factory):
    """One stack for all tests that do not break it."""
    shared = Stack(tmp_path_factory.mktemp("shared-home"), **backend.environment(), FITQ_SLOTS="2").start()
    yield shared
    shared.stop()


@pytest.fixture
def queue(stack):
    """The shared stack's queue."""
    with stack.queue() as found:
        yield found


@pytest.fixture(scope="session")
def undisturbed(stack):
    """The digits job, run without any disturbance: its weights and history."""
    with stack.queue() as found:
        job = found.submit(spec()).wait(PATIENCE_S).raise_for_state()
        return {"weights": job.result()["weights_sha256"], "history": job.history()}
