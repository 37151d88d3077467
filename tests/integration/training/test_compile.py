"""Every optimizer, loss, metric and schedule of Keras is taken, made and used; or refused by name, with the reason."""

import inspect

import keras
import numpy as np
import pytest

from shared import architecture
from shared.allowlist.catalog import REFUSED
from shared.errors import BadSpec
from shared.fit_spec import Compile
from shared.spec import parse
from worker.training import models, sizing

#: What a class cannot do without, or needs for these labels.
NEEDS = {
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 10},
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9},
    "PiecewiseConstantDecay": {"boundaries": [1, 2], "values": [0.1, 0.05, 0.01]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 10},
    "LossScaleOptimizer": {"inner_optimizer": "adam"},
    "IoU": {"num_classes": 3, "target_class_ids": [0, 1], "sparse_y_pred": False},
    "MeanIoU": {"num_classes": 3, "sparse_y_pred": False},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0, 1]},
    "OneHotMeanIoU": {"num_classes": 3},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}
#: Of these, labels are class numbers; of the others, one-hot rows.
SPARSE = {"IoU", "MeanIoU", "Circle", "circle", "CategoricalGeneralizedCrossEntropy"}
SPARSE |= {"categorical_generalized_cross_entropy"}
CLASSES = np.array([0, 1, 2, 1, 0, 2])
ROWS = np.random.default_rng(0).uniform(size=(6, 4)).astype("float32")


def public(module, base):
    """Return the classes that Keras exports there, and the functions and short names that it knows besides."""
    found = {
        name
        for name in dir(module)
        if inspect.isclass(getattr(module, name)) and issubclass(getattr(module, name), base)
    }
    functions = {
        name
        for name in dir(module)
        if inspect.isfunction(getattr(module, name)) and name not in {"get", "serialize", "deserialize"}
    }
    return sorted(found), sorted(functions)


def refused(kind, name):
    return name in REFUSED.get(kind, {})


def said(name):
    return {name: NEEDS[name]} if name in NEEDS else name


def labels_for(name):
    if "sparse" in name.lower() or name in SPARSE:
        return CLASSES
    if name.lower() == "ctc":
        return np.array([[1, 2]] * 6)
    return np.eye(3, dtype="float32")[CLASSES]


def small(name):
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    if name.lower() == "ctc":
        layers = [keras.layers.Reshape((4, 1)), keras.layers.Dense(3)]
    else:
        layers = [keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((4,)), *layers])


def step(name="", **compiled):
    """Train one step; return the logs."""
    model = small(name)
    models.compile_model(model, Compile.model_validate({"run_eagerly": True, **compiled}), jit=False)
    before = model.get_weights()
    logs = {key: np.asarray(value) for key, value in model.train_step((ROWS, labels_for(name))).items()}
    assert any(not np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    return logs


def test_every_loss_is_taken_and_used():
    classes, functions = public(keras.losses, keras.losses.Loss)
    used = 0
    for name in [*classes, *functions]:
        if refused("losses", name):
            with pytest.raises(BadSpec, match="is not allowed: "):
                architecture.checked_loss(name)
            continue
        logs = step(name, loss=said(name))
        own = getattr(keras.losses, architecture.checked_loss(name)["class_name"])()
        expected = own(labels_for(name), small(name)(ROWS))
        np.testing.assert_allclose(logs["loss"], np.mean(expected), rtol=1e-6, err_msg=name)
        used += 1
    assert used > 40


def test_every_metric_is_taken_and_used():
    classes, functions = public(keras.metrics, keras.metrics.Metric)
    names = [name for name in [*classes, *functions] if not refused("metrics", name)]
    for sparse in (True, False):
        chosen = [name for name in names if ("sparse" in name.lower() or name in SPARSE) == sparse]
        loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
        for some in (chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]):
            model = small("")
            models.compile_model(
                model, Compile.model_validate({"loss": loss, "metrics": [said(one) for one in some]}), jit=False
            )
            model.train_on_batch(ROWS, CLASSES if sparse else np.eye(3, dtype="float32")[CLASSES])
            assert len(model.get_metrics_result()) >= len(some)
    for name in (name for name in [*classes, *functions] if refused("metrics", name)):
        with pytest.raises(BadSpec, match="is not allowed: "):
            architecture.checked_metric(name)


def test_every_optimizer_and_schedule_is_taken_and_used():
    classes, _ = public(keras.optimizers, keras.optimizers.Optimizer)
    schedules, _ = public(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)
    taken = [said(name) for name in classes if not refused("optimizers", name)]
    taken += [{"SGD": {"learning_rate": said(name)}} for name in schedules if not refused("schedules", name)]
    assert len(taken) > 20
    for optimizer in taken:
        step(loss="categorical_crossentropy", optimizer=optimizer)
        sizing.slots(models.optimizer(Compile.model_validate({"loss": "mse", "optimizer": optimizer})))
    for name in (name for name in classes if refused("optimizers", name)):
        with pytest.raises(BadSpec, match="is not allowed: "):
            architecture.checked_optimizer(name)


def test_a_job_compiled_with_xla_or_eagerly(bench, train):
    plain, xla, eager = (
        bench.finish(train(compile=more, fit={"epochs": 1}), attempt=n)[1].epochs[0]["loss"]
        for n, more in enumerate([{}, {"jit_compile": True, "steps_per_execution": 4}, {"run_eagerly": True}], 1)
    )
    assert xla == pytest.approx(plain, rel=1e-4)
    assert eager == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "pointer", "says"),
    [
        ("loss", {"a": "mse", "b": "mes"}, "/loss/b", "did you mean 'mse'"),
        ("loss", ["mse", {"Huber": {"delta": -1}}], "/loss/1/Huber/delta", "delta must be"),
        ("loss", {"Hubar": {}}, "/loss", "did you mean 'Huber'"),
        ("metrics", [["mse"], ["nothing"]], "/metrics/1/0", "Unknown metric"),
        ("metrics", {"a/b": ["acc", "huber"]}, "/metrics/a~1b/1", "as a loss only"),
        ("weighted_metrics", [{"AUC": {"curve": "X"}}], "/weighted_metrics/0/AUC/curve", "'ROC'"),
        ("loss", ["mse"] * 65, "/loss", "at most 64"),
    ],
)
def test_what_is_wrong_in_one_of_several_is_named(train, field, value, pointer, says):
    with pytest.raises(BadSpec) as caught:
        parse(train(compile={field: value}))
    assert says in {one.pointer: one.message for one in caught.value.fields}[f"/compile{pointer}"]


def test_without_a_loss_something_in_the_model_must_add_one(bench, train):
    lazy = train(compile={"loss": None, "metrics": []}, fit={"epochs": 1})
    with pytest.raises(BadSpec, match="No loss to compute"):
        bench.run(lazy)
    regular = [{"Flatten": {}}, {"Dense": {"units": 10, "kernel_regularizer": {"L2": {"l2": 0.01}}}}]
    _, report = bench.finish({**lazy, "model": {"layers": regular, "input_shape": [8, 8]}}, attempt=2)
    assert report.epochs[0]["loss"] > 0
