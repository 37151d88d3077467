"""Data sets and generators on their way: the batches that were asked for, in order, under a cap."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fitq.errors import CannotTravel
from fitq.local import batches
from fitq.local.batches import Asked, Batches

MOST = 1 << 20
X = np.arange(72 * 10, dtype="float32").reshape(72, 10)
Y = np.arange(72)


def slices(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


def read(stream, steps=None, times=1, most=MOST):
    return batches.read(stream, Asked("x", steps, "steps_per_epoch", times), most)


def test_a_repeated_data_set_travels_as_one_period():
    found = read(slices(X, Y).batch(32).repeat(), 30, 10)
    assert isinstance(found, Batches)
    assert (found.lengths, found.count) == ([[32, 2], [8, 1]], 3)
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)

    # Repeated first and batched then, a batch crosses from one pass into the next.
    crossing = read(slices(X, Y).repeat().batch(32), 3, 10)
    assert (crossing.lengths, crossing.count) == ([[32, 9]], 9)
    np.testing.assert_array_equal(crossing.y, np.tile(Y, 4))

    # Shuffled, nothing comes again: what was asked for, in the order in which it came.
    mixed = slices(X, Y).shuffle(72, seed=1).batch(32).repeat()
    assert read(mixed, 3, 2).count == 6


def test_a_finite_data_set_is_sent_once_and_must_not_run_out_within_an_epoch():
    finite = slices(X, Y).batch(32)
    assert read(finite).count == 3
    assert read(finite, 2).count == 2
    assert read(finite, 3, 5).count == 3, "each epoch is one pass"
    assert read(finite, 99).count == 3, "a validation ends with its data"
    with pytest.raises(CannotTravel, match=r"has 3 batches; steps_per_epoch=2 over 2 epochs takes 4.*repeat"):
        read(finite, 2, 2)


def test_generators_and_sequences_travel_as_their_batches():
    def endless():
        while True:
            yield X[:8], Y[:8], np.ones(8)

    found = read(endless(), 5, 2)
    assert (found.lengths, found.count) == ([[8, 1]], 1)
    assert found.sample_weight.tolist() == [1.0] * 8
    with pytest.raises(CannotTravel, match="give steps_per_epoch="):
        read(endless())
    with pytest.raises(CannotTravel, match="give steps_per_epoch="):
        read(slices(X, Y).batch(8).repeat())

    class Halves(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"a": X[index::2], "b": Y[index::2]}, Y[index::2]

    found = read(Halves())
    assert (set(found.x), found.lengths) == ({"a", "b"}, [[36, 2]])


class Shifting(keras.utils.PyDataset):
    """Two batches, which are other ones in each epoch."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[index::2] + self.epoch, Y[index::2]

    def on_epoch_end(self):
        self.epoch += 1


def test_a_py_dataset_that_changes_between_epochs_travels_as_all_its_epochs():
    assert batches.epoch_of_changing(Shifting()) == 2
    found = read(Shifting(), 2, 3)
    assert (found.lengths, found.count) == ([[36, 6]], 6)
    np.testing.assert_array_equal(found.x[36 * 4 : 36 * 5], X[::2] + 3)
    assert read(Shifting(), 1).count == 1
    assert read(Shifting()).count == 2
    assert batches.epoch_of_changing(keras.utils.PyDataset()) is None
    assert batches.epoch_of_changing(X) is None


def passes(stream, *numbers):
    """Return the labels of some passes over a data set, one behind the other."""
    every = [[y.numpy() for _, y in stream] for _ in range(max(numbers) + 1)]
    return np.concatenate([y for number in numbers for y in every[number]])


def shuffled(**how):
    return slices(X, Y).shuffle(72, seed=1, **how).batch(32)


def test_a_finite_data_set_that_is_shuffled_travels_as_all_its_epochs():
    found = read(shuffled(), times=3)
    assert (found.lengths, found.count, found.per_epoch) == ([[32, 2], [8, 1]] * 3, 9, 3)
    # Keras begins a pass at the end of each epoch, which it leaves: a shuffling counts it.
    np.testing.assert_array_equal(found.y, passes(shuffled(), 0, 2, 4))

    # It does not where the length of an epoch is said, nor where it must find it out.
    found = read(shuffled(), 3, 3)
    assert (found.count, found.per_epoch) == (9, 3)
    np.testing.assert_array_equal(found.y, passes(shuffled(), 0, 1, 2))
    found = read(shuffled(), 1, 8)
    assert (found.count, found.per_epoch) == (8, 1)
    np.testing.assert_array_equal(found.y, passes(shuffled(), 0, 1, 2)[: 72 * 2 + 64])
    found = read(shuffled().filter(lambda *_: True), times=2)
    assert (found.count, found.per_epoch) == (6, 3)
    np.testing.assert_array_equal(found.y, passes(shuffled(), 0, 1))


def test_a_data_set_whose_passes_are_equal_travels_once():
    read_rows = []

    def noted(x, y):
        tf.py_function(lambda one: read_rows.append(int(one)), [y], [])
        return x, y

    for stream in (slices(X, Y).batch(32), shuffled(reshuffle_each_iteration=False), shuffled().cache()):
        found = read(stream, times=5)
        assert (found.count, found.per_epoch) == (3, None)
    assert read(slices(X, Y).map(noted).batch(32), times=5).count == 3
    assert len(read_rows) == 2 * 72, "two passes tell"
    assert read(shuffled()).per_epoch is None, "one epoch has no second order"


def test_a_changing_data_set_is_refused_before_all_epochs_are_read_and_where_epochs_are_of_other_lengths():
    read_rows = []

    def noted(x, y):
        tf.py_function(lambda one: read_rows.append(int(one)), [y], [])
        return x, y

    with pytest.raises(CannotTravel, match=r"2250 batches.*other batches in each epoch.*Nothing was sent"):
        read(slices(X, Y).shuffle(72, seed=1).map(noted).batch(32), times=750)
    assert len(read_rows) <= 2 * 72

    lengths = iter([3, 2])

    def some():
        yield from (np.full((4, 2), one, "float32") for one in range(next(lengths)))

    growing = tf.data.Dataset.from_generator(some, output_signature=tf.TensorSpec((4, 2)))
    with pytest.raises(CannotTravel, match=r"gives 3 batches in one pass and 2 in another"):
        read(growing, times=2)


def test_the_cap_is_said_before_all_is_read(monkeypatch):
    def counted():
        for index in range(1000):
            seen.append(index)
            yield np.full((64, 256), index, "float32")

    seen = []
    with pytest.raises(CannotTravel, match=r"more than 1\.0 MiB \(1000 batches, about 62\.5 MiB\).*Nothing was sent"):
        read(counted(), 1000)
    assert len(seen) == 17, "sixteen batches of 64 KiB fill one MiB"

    # A data set that knows its length is refused by its first batch.
    with pytest.raises(CannotTravel, match="max_dataset_mb"):
        read(slices(np.zeros((10_000, 256), "float32")).batch(64))
    # What comes again takes its room once.
    assert read(slices(np.zeros((64, 256), "float32")).batch(64).repeat(), 1000).count == 1

    monkeypatch.setenv("FITQ_MAX_DATASET_MB", "3")
    assert (batches.most_bytes(None), batches.most_bytes(5)) == (3 << 20, 5 << 20)
    monkeypatch.setenv("FITQ_MAX_DATASET_MB", "much")
    with pytest.raises(CannotTravel, match="FITQ_MAX_DATASET_MB"):
        batches.most_bytes(None)


def test_what_has_no_regular_batches_is_refused():
    ragged = tf.data.Dataset.from_generator(
        lambda: (np.zeros(n) for n in (1, 2, 3, 4)), output_signature=tf.TensorSpec([None])
    )
    for word, stream in {
        "differ in shape": ragged.padded_batch(2),
        "rows: call": slices(X, np.zeros((72, 3))),
        "gave no batch": slices(X).take(0).batch(2),
        "numbers": slices(np.array(["a", "b"])).batch(2),
        "parts": slices(X, X, X, X).batch(2),
    }.items():
        with pytest.raises(CannotTravel, match=word):
            read(stream)
