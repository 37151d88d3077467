"""A short storm on each stack: nothing lost, nothing doubled, nothing different. `make chaos` makes longer ones."""

import pytest

from tests.chaos import storm
from tests.chaos.arena import STACKS


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STACKS)
def test_a_short_storm_loses_doubles_and_changes_nothing(name, tmp_path):
    outcome = storm.run(name, tmp_path / "home", seed=20, jobs=16, every_s=1.0)

    assert outcome.kills
    assert (outcome.lost, outcome.doubled, outcome.different, outcome.left) == ([], [], [], [])
