"""Keras's objects on their way to a job spec: what travels, as what, and what is refused by name."""

import inspect
import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

import fitq
from fitq.calls import Evaluate, Extras, Fit, Predict
from fitq.errors import CannotTravel
from fitq.jobs import Queue
from fitq.local import arrays, callbacks, compiled, rates, specs
from fitq.submit import Submit
from shared import architecture as door

_EXTRAS = ["name", "tags", "priority", "resources", "seed", "timeout_s", "max_dataset_mb"]


def small(*more, units=3):
    return keras.Sequential([keras.Input((4,)), *more, layers.Dense(units)])


def uploads():
    sent = []

    def upload(file, name):
        sent.append((name, file.read()))
        return f"sha256:{len(sent) - 1:064x}"

    return sent, upload


def fit_call(model, x, y=None, **arguments):
    defaults = {n: p.default for n, p in inspect.signature(keras.Model.fit).parameters.items() if n != "self"}
    return Fit(model=model, **{**defaults, "x": x, "y": y, "extras": Extras(), **arguments})


def call_of(kind, x, y=None, **arguments):
    """Return a call of `Fit`, `Evaluate` or `Predict` on a small model."""
    if kind is Fit:
        return fit_call(with_compile(small()), x, y, **arguments)
    keras_own = inspect.signature(getattr(keras.Model, kind.__name__.lower())).parameters
    defaults = {n: p.default for n, p in keras_own.items() if n not in {"self", "kwargs"}}
    given = {"x": x} if kind is Predict else {"x": x, "y": y}
    return kind(model=with_compile(small()), **{**defaults, **given, "extras": Extras(), **arguments})


def test_the_signatures_are_those_of_keras():
    for owner in (Queue, Submit):
        for name in ("fit", "evaluate", "predict"):
            theirs = inspect.signature(getattr(keras.Model, name)).parameters.values()
            # evaluate(**kwargs) is Keras's own way to itself; it refuses everyone else's.
            theirs = [(p.name, p.default, p.kind) for p in theirs if p.kind is not p.VAR_KEYWORD]
            ours = [(p.name, p.default, p.kind) for p in inspect.signature(getattr(owner, name)).parameters.values()]
            assert ours[1] == ("model", inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            assert [ours[0], *ours[2:]][: len(theirs)] == theirs
            extras = ours[len(theirs) + 1 :]
            assert [one[0] for one in extras] == _EXTRAS
            assert {one[2] for one in extras} == {inspect.Parameter.KEYWORD_ONLY}


def test_the_client_imports_neither_keras_nor_numpy_until_it_is_handed_something():
    code = (
        "import sys, fitq; queue = fitq.connect('http://127.0.0.1:1'); queue.submit.fit\n"
        "print([m for m in ('keras', 'numpy', 'tensorflow') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_a_model_is_compiled_with_passes_the_door_as_keras_wrote_it():
    model = small()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        loss=keras.losses.categorical_crossentropy,
        metrics=[keras.metrics.categorical_accuracy, "acc", keras.metrics.AUC(multi_label=True)],
        weighted_metrics=["mse"],
    )
    said = compiled.described(model)
    assert said["loss"] == "categorical_crossentropy"
    assert said["metrics"][:2] == ["categorical_accuracy", "acc"]
    assert said["weighted_metrics"] == ["mse"]
    assert door.checked_optimizer(said["optimizer"])["config"]["learning_rate"]["class_name"] == "ExponentialDecay"
    assert [door.checked_metric(one)["class_name"] for one in said["metrics"][::2]] == ["CategoricalAccuracy", "AUC"]

    model.compile("sgd", ["mse", keras.losses.Huber(0.5)], metrics={"a": ["mae"]}, loss_weights=[1, 0.5])
    said = compiled.described(model)
    # Keras itself forgets the delta.
    assert (said["loss"][0], said["loss"][1]["config"]["delta"]) == ("mse", 0.5)
    assert (said["metrics"], said["loss_weights"]) == ({"a": ["mae"]}, [1.0, 0.5])


def my_loss(y_true, y_pred):
    return keras.ops.mean(y_true - y_pred)


@keras.saving.register_keras_serializable(package="mine")
class MyDense(layers.Dense):
    pass


class MyModel(keras.Model):
    pass


class MyRegularizer(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x)


class MySchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


def relu(x):
    """Share a name with one of Keras's own, and nothing else."""
    return 2 * x


def with_dense(**arguments):
    return small(layers.Dense(2, name="own", **arguments))


def with_rate(rate, model=None):
    model = model or small()
    model.compile(keras.optimizers.SGD(learning_rate=rate), "mse")
    return model


class MyCallback(keras.callbacks.Callback):
    pass


def test_what_is_code_is_refused_by_its_name():
    refused = {
        "'my_loss'": lambda: compiled.described(with_compile(small(), loss=my_loss)),
        "lambda": lambda: compiled.described(with_compile(small(), metrics=[lambda a, b: b])),
        "metrics.*'my_loss'": lambda: compiled.described(
            with_compile(small(), metrics=[keras.metrics.MeanMetricWrapper(my_loss)])
        ),
        "SGD.learning_rate=….*a lambda.*LearningRateScheduler": lambda: compiled.described(with_rate(lambda: 0.1)),
        "SGD.*'MySchedule'.*built-in schedule": lambda: compiled.described(with_rate(MySchedule())),
        "'own' has activation=a lambda.*of layers": lambda: specs.architecture.check(
            with_dense(activation=lambda x: x)
        ),
        "'own' has activation='my_loss'": lambda: specs.architecture.check(with_dense(activation=my_loss)),
        "'own' has activation='relu'": lambda: specs.architecture.check(with_dense(activation=relu)),
        "'own' has activation='tanh'": lambda: specs.architecture.check(with_dense(activation=np.tanh)),
        "'own' has activation='softmax_v2'": lambda: specs.architecture.check(with_dense(activation=tf.nn.softmax)),
        "'own' has kernel_initializer=a lambda.*weights that the model has": lambda: specs.architecture.check(
            with_dense(kernel_initializer=lambda shape, dtype=None: keras.ops.zeros(shape))
        ),
        "'own' has kernel_regularizer=a lambda.*L2": lambda: specs.architecture.check(
            with_dense(kernel_regularizer=lambda x: 0.1)
        ),
        "'own' has bias_regularizer='MyRegularizer'": lambda: specs.architecture.check(
            with_dense(bias_regularizer=MyRegularizer())
        ),
        "'inside' has recurrent_activation='my_loss'": lambda: specs.architecture.check(
            keras.Sequential(
                [keras.Sequential([layers.RNN(layers.GRUCell(2, recurrent_activation=my_loss, name="inside"))])]
            )
        ),
        "not compiled": lambda: compiled.described(small()),
        "'mine_too'": lambda: specs.architecture.described(small(layers.Lambda(lambda x: x, name="mine_too"))),
        "'own_dense'": lambda: specs.architecture.described(small(MyDense(2, name="own_dense"))),
        "'memory' is stateful": lambda: specs.architecture.described(
            keras.Sequential([keras.Input((2, 1), batch_size=4), layers.LSTM(2, stateful=True, name="memory")])
        ),
        "MyModel": lambda: specs.architecture.check(MyModel()),
        "MyCallback": lambda: translated([MyCallback()]),
        "LambdaCallback": lambda: translated([keras.callbacks.LambdaCallback()]),
        "BackupAndRestore": lambda: translated([keras.callbacks.BackupAndRestore("x")]),
        "profile_batch": lambda: translated([keras.callbacks.TensorBoard(profile_batch=2)]),
        "evaluate": lambda: callbacks.refuse_all([keras.callbacks.EarlyStopping()], "evaluate"),
    }
    for word, call in refused.items():
        with pytest.raises(CannotTravel, match=word):
            pytest.fail(f"{word}: {call()}")
    import tf_keras

    with pytest.raises(CannotTravel, match="Keras 2"):
        specs.architecture.check(tf_keras.Sequential())


def test_what_is_keras_s_own_or_its_twin_travels():
    for activation in (None, "relu", tf.nn.relu, tf.tanh, keras.activations.gelu, keras.ops.tanh, layers.LeakyReLU()):
        door.checked(specs.architecture.described(with_dense(activation=activation)))
    regularized = with_dense(
        kernel_regularizer="l2", kernel_initializer=keras.initializers.HeNormal, bias_constraint="max_norm"
    )
    door.checked(specs.architecture.described(regularized))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    for rate in (0.1, schedule):
        door.checked_optimizer(compiled.described(with_rate(rate))["optimizer"])


def test_code_in_a_model_is_refused_before_anything_is_sent():
    sent, upload = uploads()
    x, y = np.zeros((4, 4)), np.zeros((4, 3))
    for kind, spec_of in SPEC_OF.items():
        call = replace(call_of(kind, x, y), model=with_compile(with_dense(activation=lambda x: x)))
        with pytest.raises(CannotTravel, match="'own' has activation=a lambda"):
            spec_of(call, upload)
    for kind in (Fit, Evaluate):
        with pytest.raises(CannotTravel, match="SGD"):
            SPEC_OF[kind](replace(call_of(kind, x, y), model=with_rate(lambda: 0.1)), upload)
    assert sent == []


def with_compile(model, **arguments):
    model.compile("sgd", **{"loss": "mse", **arguments})
    return model


def translated(given, model=None, **epochs):
    return callbacks.translated(given, model or with_compile(small()), **{"initial_epoch": 0, "epochs": 4, **epochs})


def test_callbacks_become_their_specs(tmp_path):
    stopping = keras.callbacks.EarlyStopping(patience=2, monitor="val_loss", min_delta=0.1)
    stopping.min_delta = -0.1  # as after a fit
    made = translated(
        [
            stopping,
            [keras.callbacks.ReduceLROnPlateau(factor=0.5), keras.callbacks.TerminateOnNaN()],
            keras.callbacks.ModelCheckpoint("saved/{epoch:02d}.keras", save_best_only=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}" / "m.weights.h5", save_weights_only=True),
            keras.callbacks.TensorBoard(log_dir="./logs"),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv"), append=True),
            keras.callbacks.History(),
        ]
    )
    by_name = [next(iter(one.items())) for one in made.specs]
    assert by_name[0][1]["min_delta"] == 0.1
    assert by_name[0][1]["patience"] == 2
    assert [arguments.get("filepath") for name, arguments in by_name if name == "ModelCheckpoint"] == [
        "saved/{epoch:02d}.keras",
        "4/{epoch}/m.weights.h5",
    ]
    assert by_name[5][1]["log_dir"] == "logs"
    assert by_name[6][1] == {"filename": "6/log.csv", "append": False, "separator": ","}
    assert [one.root for one in made.landings][1::2] == [tmp_path, tmp_path]
    assert [one.fixed for one in made.landings] == ["saved/", "4/", "logs", "6/log.csv"]
    assert isinstance(made.history, keras.callbacks.History)


def test_a_schedulers_function_travels_as_its_table():
    def halve(epoch, rate):
        return rate * 0.5 if epoch else rate

    model = small()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    asked = []
    (spec,) = translated(
        [keras.callbacks.LearningRateScheduler(lambda e, r: asked.append(e) or halve(e, r))], model
    ).specs
    table = spec["LearningRateScheduler"]["rates"]
    np.testing.assert_allclose(table, [0.1, 0.05, 0.025, 0.0125], rtol=1e-6)
    assert asked == [0, 1, 2, 3], "simulated once"
    # What Keras itself would set, to the bit.
    theirs = [float(np.float32(0.1))]
    for epoch in range(1, 4):
        theirs.append(halve(epoch, float(np.float32(theirs[-1]))))
    assert table == theirs

    # Absolute epochs, and functions of the epoch alone.
    (spec,) = translated([keras.callbacks.LearningRateScheduler(lambda e: 1.0 / (e + 1))], model, initial_epoch=2).specs
    assert spec["LearningRateScheduler"]["rates"] == [1 / 3, 1 / 3, 1 / 3, 1 / 4]

    plateau = keras.callbacks.ReduceLROnPlateau()
    with pytest.raises(CannotTravel, match="ReduceLROnPlateau"):
        translated([plateau, keras.callbacks.LearningRateScheduler(halve)], model)
    assert len(translated([plateau, keras.callbacks.LearningRateScheduler(lambda e, r: 0.1)], model).specs) == 2
    with pytest.raises(CannotTravel, match="float"):
        translated([keras.callbacks.LearningRateScheduler(lambda e: "fast")], model)
    scheduled = small()
    scheduled.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)), "mse")
    with pytest.raises(CannotTravel, match="schedule of its own"):
        rates.start(scheduled)


def test_whatever_keras_takes_for_an_array_travels():
    as_list = arrays.taken([[1, 2], [3, 4]], "x")
    assert as_list.tolist() == [[1, 2], [3, 4]]
    assert as_list.dtype == np.int64
    assert arrays.taken(np.zeros((2, 2)), "x").dtype == np.float32
    assert arrays.taken(tf.constant([1.5, 2.5], tf.bfloat16), "x").tolist() == [1.5, 2.5]
    assert arrays.taken(pd.DataFrame({"a": [1, 2], "b": [0.5, 0.5]}), "x").shape == (2, 2)
    assert arrays.taken(pd.Series([1, 2]), "y").shape == (2, 1)
    assert [one.shape for one in arrays.taken([np.zeros((2, 3)), np.zeros(2)], "x")] == [(2, 3), (2,)]
    assert set(arrays.taken({"a": np.zeros(2), "b": [1, 2]}, "x")) == {"a", "b"}
    for wrong, word in {"text": "numbers", "ragged": "dense|regular", "scalar": "single"}.items():
        value = {"text": np.array(["a"]), "ragged": tf.ragged.constant([[1], [1, 2]]), "scalar": 3}[wrong]
        with pytest.raises(CannotTravel, match=word):
            arrays.taken(value, "x")


def test_a_fit_is_one_spec_and_each_array_is_sent_as_it_is():
    model = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dropout(0.5), layers.Dense(3)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    sent, upload = uploads()
    x, y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 3
    call = fit_call(
        model, x, y, epochs=3, batch_size=5, validation_data=(x[:5], y[:5]), class_weight={0: 1, 1: 2.5}, shuffle=False
    )
    spec = specs.of_fit(call, upload).spec
    assert model.built, "by the data's shape, as Keras's fit would"
    assert spec["fit"] == {
        "epochs": 3,
        "initial_epoch": 0,
        "validation_freq": 1,
        "on_nan": "continue",
        "batch_size": 5,
        "validation_batch_size": 5,
        "class_weight": {"0": 1.0, "1": 2.5},
    }
    assert spec["data"]["shuffle"] is False
    assert sorted(spec["data"]["train"]) == ["labels", "npy"]
    assert [name for name, _ in sent] == ["array.npy"] * 4 + ["weights.npz"]
    # The state of the Dropout's generator goes with the optimizer's.
    assert spec["compile"]["continue_optimizer"] is True
    door.checked(spec["model"]["architecture"])

    plain = with_compile(small())
    assert specs.of_fit(fit_call(plain, x, np.zeros((20, 3))), upload).spec["compile"]["continue_optimizer"] is False
    plain.fit(x, np.zeros((20, 3)), epochs=1, verbose=0)
    again = specs.of_fit(fit_call(plain, x, np.zeros((20, 3))), upload).spec
    assert again["compile"]["continue_optimizer"] is True
    assert sent[0] == sent[5], "the same bytes, so the same upload"


def test_contradictions_are_said_before_anything_is_sent():
    sent, upload = uploads()
    model = with_compile(small())
    x, y = np.zeros((4, 4)), np.zeros((4, 3))
    for word, arguments in {
        "initial_epoch": {"epochs": 2, "initial_epoch": 2},
        "shuffle": {"shuffle": "batch"},
        "verbose": {"verbose": 7},
        "4 rows": {"y": y[:3]},
        "validation_data": {"validation_data": x},
        "validation_split": {"x": tf.data.Dataset.from_tensor_slices(x).batch(2), "y": None, "validation_split": 0.5},
        "no y beside": {"x": tf.data.Dataset.from_tensor_slices(x).batch(2)},
        "x is missing": {"x": None},
        "multiply them": {"class_weight": {0: 2.0}, "sample_weight": np.ones(4)},
        "one output": {"class_weight": {0: 2.0}, "y": {"a": y, "b": y}},
    }.items():
        with pytest.raises(CannotTravel, match=word):
            specs.of_fit(fit_call(model, **{"x": x, "y": y, **arguments}), upload)
    assert sent == []


SPEC_OF = {Fit: specs.of_fit, Evaluate: specs.of_evaluate, Predict: specs.of_predict}


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        *((Fit, name) for name in ("epochs", "batch_size", "initial_epoch", "steps_per_epoch")),
        *((Fit, name) for name in ("validation_steps", "validation_batch_size", "validation_freq")),
        *((kind, name) for kind in (Evaluate, Predict) for name in ("batch_size", "steps")),
    ],
)
def test_a_count_is_any_whole_number_and_nothing_else(kind, argument):
    x, y = np.zeros((40, 4)), np.zeros((40, 3))
    more = {"epochs": 9, "validation_data": (x, y)} if kind is Fit else {}
    sent, upload = uploads()
    for whole in (3, np.int64(3), np.int32(3), np.uint8(3), np.array(3), tf.constant(3)):
        spec = SPEC_OF[kind](call_of(kind, x, y, **more | {argument: whole}), upload).spec
        place = json.loads(json.dumps(spec.get("fit", spec)))
        assert (place[argument], type(place[argument])) == (3, int)
    if argument not in {"epochs", "initial_epoch", "validation_freq"}:
        nothing, zero = (call_of(kind, x, y, **more | {argument: value}) for value in (None, np.int64(0)))
        assert SPEC_OF[kind](zero, upload).spec.get("fit") == SPEC_OF[kind](nothing, upload).spec.get("fit")

    sent.clear()
    for wrong in (np.ceil(40 / 8), 5.0, "3", True, np.True_, [2], np.array([3]), -1):
        if argument == "epochs" and wrong == -1:
            continue
        remedy = r"every so many|1 or more" if argument == "validation_freq" else r"int\(|such as|or more"
        with pytest.raises(CannotTravel, match=f"^{argument}.*({remedy})"):
            SPEC_OF[kind](call_of(kind, x, y, **more | {argument: wrong}), upload)
    assert sent == []


def test_numpy_s_other_scalars_travel_too():
    x, y = np.zeros((40, 4)), np.arange(40) % 3
    model = with_compile(small(), loss="sparse_categorical_crossentropy", loss_weights=[np.float32(0.5)])
    sent, upload = uploads()
    extras = Extras(
        seed=np.int64(3), priority=np.int8(2), resources={"memory_mb": np.int64(4096)}, timeout_s=np.int64(9)
    )
    arguments = {"validation_split": np.float32(0.3), "shuffle": np.False_, "extras": extras}
    call = fit_call(model, x, y, class_weight={np.int64(1): np.float32(0.5), 2.0: np.int32(2)}, **arguments)
    spec = json.loads(json.dumps(specs.of_fit(call, upload).spec))
    assert (spec["data"]["validation"], spec["data"]["shuffle"]) == ({"split": 0.3}, False)
    assert spec["fit"]["class_weight"] == {"1": 0.5, "2": 2.0}
    assert (spec["compile"]["loss_weights"], spec["seed"], spec["priority"]) == ([0.5], 3, 2)
    assert spec["resources"] == {"memory_mb": 4096, "time_limit_s": 9.0}

    sent.clear()
    for wrong in ("0.3", None, 1.5, -0.1, float("nan")):
        with pytest.raises(CannotTravel, match="validation_split must be"):
            specs.of_fit(fit_call(model, x, y, validation_split=wrong), upload)
    with pytest.raises(CannotTravel, match="timeout_s must be"):
        specs.of_fit(fit_call(model, x, y, extras=Extras(timeout_s="soon")), upload)
    assert sent == []


def test_class_weights_that_are_none_are_said_before_anything_is_sent():
    x, y = np.zeros((40, 4)), np.arange(40) % 3
    model = with_compile(small(), loss="sparse_categorical_crossentropy")
    sent, upload = uploads()
    for wrong, remedy in (
        ("balanced", "compute_class_weight"),
        ([1.0, 2.0, 0.5], r"dict\(enumerate"),
        (np.ones(3), r"dict\(enumerate"),
        ({"a": 1.0}, "from 0"),
        ({"0": 1.0}, "from 0"),
        ({-1: 1.0}, "from 0"),
        ({0.5: 1.0}, "from 0"),
        ({None: 1.0}, "from 0"),
        ({0: "heavy"}, "0 or more"),
        ({0: [1.0]}, "0 or more"),
        ({0: -1.0}, "0 or more"),
        ({0: float("nan")}, "0 or more"),
        ({0: np.float32("inf")}, "0 or more"),
    ):
        with pytest.raises(CannotTravel, match=f"(?s)^class_weight.*{remedy}"):
            specs.of_fit(fit_call(model, x, y, class_weight=wrong), upload)
    assert sent == []
    # To Keras, no weights are as good as none.
    assert "class_weight" not in specs.of_fit(fit_call(model, x, y, class_weight={}), upload).spec["fit"]


def test_without_an_epoch_there_is_no_job_and_an_empty_history():
    x, y = np.zeros((40, 4)), np.zeros((40, 3))
    model, local = with_compile(small()), with_compile(small())
    weights = model.get_weights()
    # Nobody listens there, and nobody is asked.
    with fitq.connect("http://127.0.0.1:1") as queue:
        for epochs in ({"epochs": 2, "initial_epoch": 2}, {"epochs": 1, "initial_epoch": 2}, {"epochs": np.int64(0)}):
            history = queue.fit(model, x, y, **epochs, verbose=0)
            expected = local.fit(x, y, **epochs, verbose=0)
            assert isinstance(history, keras.callbacks.History)
            assert (history.epoch, history.history, history.params) == ([], {}, expected.params)
            assert (history.job, model.history) == (None, history)
        with pytest.raises(CannotTravel, match="epochs must be a whole number"):
            queue.fit(model, x, y, epochs=0.0)
        # Who wants the job itself is told that there would be none.
        with pytest.raises(CannotTravel, match=r"initial_epoch=2.*no job"):
            queue.submit.fit(model, x, y, epochs=2, initial_epoch=2)
    for mine, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, before)
