"""Several inputs and outputs, weights of samples and classes, batches of any sizes: as Keras trains on them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.errors import BadData, BadSpec
from shared.spec import parse
from worker.training.batches import order

ROWS = 50
RANDOM = np.random.default_rng(3)
LEFT = RANDOM.normal(size=(ROWS, 3)).astype("float32")
RIGHT = RANDOM.normal(size=(ROWS, 2)).astype("float32")
VALUE = (LEFT[:, :1] - RIGHT[:, :1]).astype("float32")
KIND = (VALUE[:, 0] > 0).astype("int64")
WEIGHT = RANDOM.uniform(0.5, 2, size=ROWS).astype("float32")


def two():
    """Return a model of two inputs and two outputs."""
    keras.backend.clear_session()
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    both = keras.layers.Concatenate(name="both")([left, right])
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(both)
    value = keras.layers.Dense(1, name="value")(hidden)
    kind = keras.layers.Dense(2, activation="softmax", name="kind")(hidden)
    return keras.Model([left, right], [value, kind])


COMPILED = {
    "optimizer": {"Adam": {"learning_rate": 0.01}},
    "loss": {"value": "mse", "kind": "sparse_categorical_crossentropy"},
    "loss_weights": {"value": 0.5, "kind": 1.0},
    "metrics": {"kind": ["accuracy"]},
    "weighted_metrics": [["mae"], []],
}
SOURCE = {"npz": "two.npz", "x": {"left": "l", "right": "r"}, "y": {"value": "v", "kind": "k"}, "sample_weight": "w"}


@pytest.fixture
def filled(bench):
    bench.save("two.npz", l=LEFT, r=RIGHT, v=VALUE, k=KIND, w=WEIGHT)
    return bench


def job(source=SOURCE, **changes):
    return {
        "kind": "train",
        "model": {"architecture": two().to_json()},
        "data": {"train": source, "shuffle": False, **changes.pop("data", {})},
        "compile": COMPILED,
        "fit": {"epochs": 2, "batch_size": 16},
        **changes,
    }


def twin(**compiled):
    """Return the model that a script with the job's seed has."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    model = two()
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        **{**{key: value for key, value in COMPILED.items() if key != "optimizer"}, **compiled},
    )
    return model


def logged(report):
    return {name: [row[name] for row in report.epochs.values()] for name in report.epochs[0]}


def test_a_model_of_two_inputs_and_outputs_is_trained_as_by_keras(filled):
    ended, report = filled.finish(job())
    model = twin()
    x, y = {"left": LEFT, "right": RIGHT}, [VALUE, KIND]
    history = model.fit(x, y, sample_weight=[WEIGHT, WEIGHT], epochs=2, batch_size=16, shuffle=False, verbose=0)
    assert logged(report) == history.history
    with np.load(filled.volume / report.checkpoints["epoch-1"].file.path) as saved:
        for index, weights in enumerate(model.get_weights()):
            np.testing.assert_array_equal(saved[f"weights.{index}"], weights)
    # The same as lists, from other files.
    for name, array in (("l", LEFT), ("r", RIGHT), ("v", VALUE), ("k", KIND), ("w", WEIGHT)):
        filled.save(f"{name}.npy", a=array)
    lists = {"npy": ["l.npy", "r.npy"], "labels": ["v.npy", "k.npy"], "sample_weight": "w.npy"}
    again, _ = filled.finish(job(lists), attempt=2)
    assert again.weights_sha256 == ended.weights_sha256


def test_interrupted_it_ends_with_the_same_bits(filled, recorder, resumable):
    spec = job(fit={"epochs": 3, "batch_size": 16, "steps_per_epoch": 3}, data={"shuffle": True})
    ended, report = filled.finish(spec)
    first = recorder(stop_at=5)
    filled.stop(spec, first, attempt=2)
    again, second = filled.finish(spec, attempt=3, checkpoints=resumable(*first.checkpoints.values()))
    assert again.weights_sha256 == ended.weights_sha256
    assert first.epochs | second.epochs == report.epochs


def test_it_evaluates_and_predicts_as_keras_does(filled):
    model = two()
    keras.utils.set_random_seed(7)
    architecture = {"architecture": model.to_json()}
    measured, _ = filled.finish(
        {"kind": "evaluate", "model": architecture, "data": {"test": SOURCE}, "compile": COMPILED}
    )
    model = twin()
    expected = model.evaluate(
        {"left": LEFT, "right": RIGHT},
        [VALUE, KIND],
        sample_weight=[WEIGHT, WEIGHT],
        verbose=0,
        return_dict=True,
    )
    assert measured.value["metrics"] == expected
    inline = {"x": {"left": LEFT[:3].tolist(), "right": RIGHT[:3].tolist()}}
    predicted, report = filled.finish({"kind": "predict", "model": architecture, "data": {"input": inline}})
    value, kind = model.predict([LEFT[:3], RIGHT[:3]], verbose=0)
    with np.load(filled.volume / report.artifact.file.path) as saved:
        np.testing.assert_array_equal(saved["value"], value)
        np.testing.assert_array_equal(saved["kind"], kind)
    assert predicted.value["rows"] == 3


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"x": "l", "y": "v"}, r"has 2 inputs \(left, right\); the data gives 1 array of x"),
        ({"x": ["l", "r", "w"]}, r"has 2 inputs \(left, right\); the data gives 3 arrays"),
        ({"x": {"left": "l", "up": "r"}}, "has no input 'up'; its inputs are left, right"),
        ({"y": {"value": "v"}}, "has no y for its output 'kind'; its outputs are value, kind"),
        ({"x": ["r", "l"]}, r"input 'left' takes samples of shape \(3\); the data's have shape \(2\)"),
    ],
)
def test_arrays_that_do_not_fit_the_inputs_are_named(filled, source, says):
    for kind in ("train", "check") if "x" in source else ("train",):
        with pytest.raises(BadSpec, match=says):
            filled.run(job({**SOURCE, **source}), kind=kind)


def test_labels_without_a_class_are_named_with_their_output(filled):
    filled.save("two.npz", l=LEFT, r=RIGHT, v=VALUE, k=np.where(np.arange(ROWS) == 7, 2, KIND), w=WEIGHT)
    message = r"Labels of output 'kind' must be whole numbers from 0 to 1; found 2 \(row 7\)"
    for source in (SOURCE, {**SOURCE, "y": ["v", "k"]}):
        with pytest.raises(BadData, match=message):
            filled.run(job(source))
    test = {"kind": "evaluate", "model": {"architecture": two().to_json()}, "data": {"test": SOURCE}}
    with pytest.raises(BadData, match=message):
        filled.run({**test, "compile": COMPILED})


def test_outputs_by_name_find_their_own_classes_whatever_their_order(filled):
    listed = two()
    named = keras.Model(listed.inputs, dict(zip(("value", "kind"), listed.outputs, strict=True)))
    model, compiled = {"architecture": named.to_json()}, {**COMPILED, "weighted_metrics": []}
    trained, _ = filled.finish(job(model=model, compile=compiled))
    assert trained.value["epochs"] == 2

    filled.save("two.npz", l=LEFT, r=RIGHT, v=VALUE, k=np.where(np.arange(ROWS) == 7, 2, KIND), w=WEIGHT)
    with pytest.raises(BadData, match=r"Labels of output 'kind' must be whole numbers from 0 to 1; found 2 \(row 7\)"):
        filled.run(job(model=model, compile=compiled))


def test_one_sample_of_several_inputs_is_predicted(filled):
    architecture = {"architecture": two().to_json()}
    sample = {"right": RIGHT[3].tolist(), "left": LEFT[3].tolist()}
    spec = {"kind": "predict", "model": architecture, "data": {"input": {"sample": sample}}}
    predicted, report = filled.finish(spec)
    value, kind = twin().predict([LEFT[3:4], RIGHT[3:4]], verbose=0)
    with np.load(filled.volume / report.artifact.file.path) as saved:
        np.testing.assert_array_equal(saved["value"], value)
        np.testing.assert_array_equal(saved["kind"], kind)
    assert predicted.value["rows"] == 1
    with pytest.raises(BadSpec, match="has no input 'up'"):
        filled.run({**spec, "data": {"input": {"sample": {"left": sample["left"], "up": sample["right"]}}}})
    with pytest.raises(BadSpec, match="ragged"):
        parse({**spec, "data": {"input": {"sample": {"left": [1, [2]]}}}})


def test_arrays_of_different_lengths_are_named(filled):
    filled.save("two.npz", l=LEFT, r=RIGHT[:9], v=VALUE, k=KIND, w=WEIGHT)
    with pytest.raises(BadData, match="x 'left' has 50 rows and x 'right' has 9"):
        filled.run(job())


# --- one input: digits ---


def test_weights_of_classes_are_those_of_keras(bench, train):
    weights = {0: 0.5, 3: 2.0}
    data = {
        "shuffle": False,
        "scale": 1.0,
        "train": {"x": LEFT.tolist(), "y": KIND.tolist()},
        "validation": {"split": 0.2},
    }
    spec = train(
        model={"layers": [{"Dense": {"units": 4, "activation": "softmax"}}], "input_shape": [3]},
        data=data,
        compile={"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "weighted_metrics": ["accuracy"]},
        fit={"epochs": 2, "class_weight": {str(key): value for key, value in weights.items()}},
    )
    _, report = bench.finish(spec)
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    history = model.fit(LEFT, KIND, epochs=2, class_weight=weights, validation_split=0.2, shuffle=False, verbose=0)
    assert logged(report) == history.history


@pytest.mark.parametrize(
    ("source", "says"),
    [(SOURCE, "cannot be given at once"), ({**SOURCE, "sample_weight": None}, "models of one output")],
)
def test_weights_of_classes_where_keras_takes_none(filled, source, says):
    with pytest.raises(BadData, match=says):
        filled.run(job(source, fit={"class_weight": {"1": 2.0}}))


def test_batches_of_their_own_sizes_are_a_data_set_of_tensorflow(bench, recorder, resumable, train):
    sizes = [16] * 3 + [2]
    source = {"x": LEFT.tolist(), "y": VALUE.tolist(), "batches": [[16, 3], [2, 1]]}
    spec = train(
        model={"layers": [{"Dense": {"units": 1}}], "input_shape": [3]},
        data={"scale": 1.0, "train": source, "validation": {**source, "batches": [[20, 2], [10, 1]]}},
        compile={"optimizer": "sgd", "loss": "mse", "metrics": []},
        fit={"epochs": 3, "steps_per_epoch": 5, "validation_steps": 4},
    )
    ended, report = bench.finish(spec)
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    def dataset(sizes):
        ends = np.cumsum(sizes)
        parts = [(LEFT[end - size : end], VALUE[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
        signature = (tf.TensorSpec([None, 3]), tf.TensorSpec([None, 1]))
        return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=signature).repeat()

    history = model.fit(
        dataset(sizes),
        epochs=3,
        steps_per_epoch=5,
        validation_data=dataset([20, 20, 10]),
        validation_steps=4,
        verbose=0,
    )
    assert logged(report) == history.history
    first = recorder(stop_at=12)
    bench.stop(spec, first, attempt=2)
    again, _ = bench.finish(spec, attempt=3, checkpoints=resumable(*first.checkpoints.values()))
    assert again.weights_sha256 == ended.weights_sha256


def test_batches_that_do_not_add_up_are_refused(bench, train):
    source = {"dataset": "digits", "rows": [0, 100], "batches": [[32, 3]]}
    with pytest.raises(BadData, match="batches are of 96 rows together; the source has 100"):
        bench.run(train(data={"train": source, "validation": None}))


def test_the_order_of_runs():
    runs = order(11, 32, ((4, 2), (3, 1)))
    assert [runs.indices(step).tolist() for step in (0, 2, 4)] == [[0, 1, 2, 3], [8, 9, 10], [4, 5, 6, 7]]
    assert (runs.steps_per_pass, runs.batch_length, order(8, 1, ((4, 2),)).batch_length) == (3, None, 4)


def test_evaluate_goes_on_through_passes_with_steps(filled):
    model = {"layers": [{"Dense": {"units": 1}}], "input_shape": [3]}
    spec = {
        "kind": "evaluate",
        "model": model,
        "data": {"test": {"npz": "two.npz", "x": "l", "y": "v"}},
        "compile": {"loss": "mse"},
        "batch_size": 20,
        "steps": 5,
    }
    measured, _ = filled.finish(spec)
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    twin = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    twin.compile(loss="mse")
    rows = tf.data.Dataset.from_tensor_slices((LEFT, VALUE)).batch(20)
    assert measured.value["metrics"]["loss"] == twin.evaluate(rows.repeat(), steps=5, verbose=0)
    once, _ = filled.finish({**spec, "data": {**spec["data"], "repeat": False}})
    assert once.value["metrics"]["loss"] == twin.evaluate(rows, verbose=0)


@pytest.mark.parametrize(
    ("source", "pointer", "says"),
    [
        ({"npz": "a", "x": []}, "/data/train/x", "at least 1"),
        ({"npz": "a", "x": ["x"] * 65}, "/data/train/x", "at most 64"),
        ({"x": {"a": [[1], [1, 2]]}}, "/data/train/x", "ragged"),
        ({"dataset": "digits", "batches": [[0, 1]]}, "/data/train/batches/0/0", "greater than or equal to 1"),
        ({"dataset": "digits", "batches": [[1]]}, "/data/train/batches/0", "at least 2"),
    ],
)
def test_sources_that_cannot_be_are_refused_at_the_door(source, pointer, says):
    with pytest.raises(BadSpec) as caught:
        parse(job(source))
    assert says in {field.pointer: field.message for field in caught.value.fields}[pointer]
