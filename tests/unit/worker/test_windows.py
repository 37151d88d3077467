"""The order of streamed rows: each once in a pass, mixed, and computed for any step without the steps before."""

import numpy as np
import pytest

from worker.training.windows import RunWindows, Windows

#: Blocks of 7 rows and of other lengths, 100 rows together.
STARTS = np.array([0, 7, 14, 20, 21, 40, 47, 60, 77, 90, 97, 100])


def taken(windows: Windows, step: int) -> list[int]:
    """Return the rows of a step's batch."""
    data_pass, window, batch = windows.find(step)
    rows = np.concatenate([np.arange(*one) for one in windows.ranges(data_pass, window)])
    order = windows.order(data_pass, window, len(rows))
    rows = rows if order is None else rows[order]
    return rows[batch * windows.batch_size : (batch + 1) * windows.batch_size].tolist()


def one_pass(windows: Windows, data_pass: int) -> list[int]:
    steps = range(data_pass * windows.steps_per_pass, (data_pass + 1) * windows.steps_per_pass)
    return [row for step in steps for row in taken(windows, step)]


@pytest.mark.parametrize("batch_size", [1, 8, 32, 100, 1000])
@pytest.mark.parametrize("about", [0, 10, 33, 1000])
def test_each_pass_takes_each_row_once_in_an_order_of_its_own(batch_size, about):
    windows = Windows(STARTS, batch_size, about, shuffle=True, seed=3)
    first, second = one_pass(windows, 0), one_pass(windows, 1)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != list(range(100))


def test_without_shuffling_rows_come_as_they_are():
    assert one_pass(Windows(STARTS, 8, 33), 5) == list(range(100))


def test_batches_of_their_own_sizes_are_cut_from_windows_of_about_a_length():
    ends = np.cumsum([3, 3, 50, 1, 1, 1, 7, 7, 7])
    windows = RunWindows(ends, 10)
    batches = []
    for step in range(2 * len(ends)):
        _, window, batch = windows.find(step)
        ((first, end),) = windows.ranges(0, window)
        cuts = windows.cuts(window, batch)
        assert cuts[-1] == end - first
        assert end - first <= 10 or len(windows.cuts(window, 0)) == 2
        batches.append((first + int(cuts[0]), first + int(cuts[1])))
    assert batches == 2 * list(zip([0, *ends[:-1]], ends, strict=True))


def test_the_order_depends_on_the_seed_and_on_nothing_that_was_asked_before():
    one, other = (Windows(STARTS, 8, 33, shuffle=True, seed=seed) for seed in (3, 4))
    assert taken(Windows(STARTS, 8, 33, shuffle=True, seed=3), 17) == taken(one, 17)
    assert one_pass(one, 0) != one_pass(other, 0)


def test_a_window_mixes_blocks_from_all_over_the_data():
    windows = Windows(np.arange(0, 10_001, 10), 32, 1000, shuffle=True, seed=0)
    rows = np.concatenate([np.arange(*one) for one in windows.ranges(0, 0)])
    assert np.histogram(rows, bins=10, range=(0, 10_000))[0].min() > 0
