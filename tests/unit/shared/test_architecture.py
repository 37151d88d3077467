"""The allow-list: what passes, what is refused, where and in which words."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import architecture
from shared.allowlist.arguments import value_of
from shared.allowlist.catalog import REFUSED
from shared.allowlist.lookup import CATALOG
from shared.errors import BadSpec
from shared.jsontext import DEPTH_MOST, NODES_MOST

DENSE = {"Dense": {"units": 4}}


def wrong(call: Any, *arguments: Any, **options: Any) -> list[tuple[str, str]]:
    """Return the pointers and sentences with which a check refuses."""
    with pytest.raises(BadSpec) as caught:
        call(*arguments, **options)
    assert caught.value.fields
    assert caught.value.message.startswith(caught.value.fields[0].message)
    assert all(field.message.isprintable() and len(field.message) < 1000 for field in caught.value.fields)
    return [(field.pointer, field.message) for field in caught.value.fields]


def wrong_layers(*layers: Any, shape: Any = (4,)) -> list[tuple[str, str]]:
    """Return what is wrong with a short list of layers."""
    return wrong(architecture.from_layers, list(layers), list(shape))


def config_of(class_name: str, module: Any = "keras.layers", /, **config: Any) -> dict[str, Any]:
    """Return a layer as Keras writes it."""
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def sequential(*layers: Any, **config: Any) -> dict[str, Any]:
    """Return a Sequential model as Keras writes it."""
    return config_of("Sequential", "keras", name="sequential", layers=list(layers), **config)


def tensor(name: str, node: int = 0, result: int = 0) -> dict[str, Any]:
    """Return a tensor as Keras writes it."""
    history = {"shape": [None, 4], "dtype": "float32", "keras_history": [name, node, result]}
    return {"class_name": "__keras_tensor__", "config": history}


def called(name: str, *tensors: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a Dense layer of a Functional model that is called once."""
    nodes = [{"args": list(tensors), "kwargs": kwargs}]
    return config_of("Dense", name=name, units=4) | {"name": name, "inbound_nodes": nodes}


START = config_of("InputLayer", batch_shape=[None, 4], dtype="float32", name="a") | {"name": "a", "inbound_nodes": []}


def functional(*layers: Any, **config: Any) -> dict[str, Any]:
    """Return a Functional model as Keras writes it, from `a` to `b`."""
    ends = {"input_layers": [["a", 0, 0]], "output_layers": [["b", 0, 0]]}
    config = {"name": "f", "trainable": True, "layers": [START, *layers], **ends, **config}
    return config_of("Functional", "keras.src.models.functional", **config) | {"registered_name": "Functional"}


# What passes.


def test_the_short_form_becomes_a_keras_configuration() -> None:
    made = architecture.from_layers([{"Flatten": {}}, {"Dense": {"units": 8, "activation": "relu"}}, DENSE], [28, None])
    first, flatten, *dense = made["config"]["layers"]
    assert (made["module"], made["class_name"]) == ("keras", "Sequential")
    assert first["config"] == {"batch_shape": [None, 28, None], "dtype": "float32", "name": "input_layer"}
    assert flatten == config_of("Flatten", name="flatten")
    assert [layer["config"]["name"] for layer in dense] == ["dense", "dense_1"]


def test_layers_may_be_names_and_keep_their_own_name() -> None:
    made = architecture.from_layers(["Flatten", {"Flatten": None}, {"Dense": {"units": 1, "name": "flatten"}}], [4])
    assert [layer["config"]["name"] for layer in made["config"]["layers"][1:]] == ["flatten_1", "flatten_2", "flatten"]


def test_wrappers_take_the_short_form_inside() -> None:
    made = architecture.from_layers([{"Bidirectional": {"layer": {"LSTM": {"units": 4}}}}], [5, 2])
    assert made["config"]["layers"][1]["config"]["layer"] == config_of("LSTM", units=4)


def test_tuples_are_lists() -> None:
    assert architecture.from_layers((DENSE,), (4,)) == architecture.from_layers([DENSE], [4])


def test_nothing_of_what_came_in_goes_on() -> None:
    layers = [config_of("Dense", units=4, kernel_initializer={"HeNormal": {}})]
    made = architecture.from_layers(layers, [4])
    made["config"]["layers"][1]["config"]["units"] = 9
    assert layers[0]["config"]["units"] == 4
    assert "name" not in layers[0]["config"]


def test_build_and_compile_parts_and_shared_numbers_are_dropped() -> None:
    bomb = {
        "build_config": {"input_shape": [None, 2**50]},
        "compile_config": {"optimizer": "os"},
        "shared_object_id": 1,
    }
    made = architecture.checked(sequential(config_of("Dense", units=4) | bomb) | bomb)
    assert set(made) == set(made["config"]["layers"][0]) == {"module", "class_name", "config", "registered_name"}


def test_a_missing_module_is_filled_in() -> None:
    layer = {"class_name": "Dense", "config": {"units": 4}}
    made = architecture.checked({"class_name": "Sequential", "config": {"layers": [layer]}})
    assert made["config"]["layers"] == [config_of("Dense", units=4)]
    assert made["config"]["name"] == "sequential"


def test_functions_become_plain_names() -> None:
    relu = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    made = architecture.from_layers([{"Dense": {"units": 4, "activation": relu}}], [4])
    assert made["config"]["layers"][1]["config"]["activation"] == "relu"
    mse = {"module": "keras.losses", "class_name": "function", "config": "mean_squared_error"}
    assert architecture.checked_loss(mse)["class_name"] == "MeanSquaredError"


def test_a_functional_model_passes_as_object_and_as_text() -> None:
    model = functional(called("b", tensor("a"), mask=None))
    made = architecture.checked(model)
    assert made == architecture.checked(json.dumps(model))
    assert made["config"]["layers"][1]["inbound_nodes"] == [{"args": [tensor("a")], "kwargs": {"mask": None}}]


@pytest.mark.parametrize("form", ["adam", "Adam", {"Adam": {}}, {"adam": None}, config_of("Adam", "keras.optimizers")])
def test_an_optimizer_in_every_form(form: Any) -> None:
    assert architecture.checked_optimizer(form) == config_of("Adam", "keras.optimizers")


def test_a_schedule_stands_as_learning_rate() -> None:
    schedule = {"ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.9}}
    rate = architecture.checked_optimizer({"SGD": {"learning_rate": schedule}})["config"]["learning_rate"]
    assert rate == config_of("ExponentialDecay", "keras.optimizers.schedules", **schedule["ExponentialDecay"])
    assert architecture.checked_optimizer({"SGD": {"learning_rate": rate}})["config"]["learning_rate"] == rate


def test_losses_and_metrics_by_name() -> None:
    assert architecture.checked_loss("mse") == config_of("MeanSquaredError", "keras.losses")
    assert architecture.checked_loss("kl_divergence")["class_name"] == "KLDivergence"
    assert architecture.checked_metric("mse") == config_of("MeanSquaredError", "keras.metrics", name="mse")
    assert architecture.checked_metric({"AUC": {}}) == config_of("AUC", "keras.metrics")
    for name in ("accuracy", "acc", "Accuracy"):
        assert architecture.checked_metric(name) == {"name": name}
    for name in ("crossentropy", "ce"):
        assert architecture.checked_loss(name) == {"name": name}


def test_callbacks() -> None:
    made = architecture.checked_callback({"EarlyStopping": {"monitor": "val_loss", "patience": 2}})
    assert made == config_of("EarlyStopping", "keras.callbacks", monitor="val_loss", patience=2)
    assert architecture.checked_callback("TerminateOnNaN")["config"] == {}


def test_every_argument_has_a_kind_of_value() -> None:
    for kind, table in CATALOG.items():
        for entry in table.values():
            assert entry.required <= set(entry.arguments)
            assert all(value_of(kind, entry.name, name) for name in entry.arguments)


def test_it_imports_no_keras() -> None:
    code = "import sys, shared.architecture; print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# Messages and pointers.


INNER = "TimeDistributed/layer"
NO_UNIT = "Dense has no argument 'unit': did you mean 'units'?"
UNKNOWN_ACTIVATION = "Unknown activation 'rellu': did you mean 'relu'?"
NO_FUNCTION = (
    "Activation has no argument 'function'; it takes activation, activity_regularizer, dtype, name, trainable."
)
OLD_SHAPE = "Dense has no argument 'input_shape': give the model's input_shape once, beside the layers."
BAD_SEED = "seed must be a whole number from 0 to 9007199254740992, or a seed generator, not -1."
BAD_UNITS = "units must be a whole number from 1 to 65536, not 0."
BAD_KERNEL = (
    "kernel_size must be a whole number from 1 to 1024 or a list of 1 to 3 entries, each a whole number from 1 to "
    "1024, not [3, 1025]."
)
BAD_CELL = "Only GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells may stand here, not 'LSTM'."


@pytest.mark.parametrize(
    ("layer", "pointer", "message"),
    [
        ({"Dens": {"units": 4}}, "/layers/0", "Unknown layer 'Dens': did you mean 'Dense'?"),
        ("flatten", "/layers/0", "Unknown layer 'flatten': did you mean 'Flatten'?"),
        ({"Dense": {"unit": 4, "units": 4}}, "/layers/0/Dense/unit", NO_UNIT),
        ({"Dense": {}}, "/layers/0/Dense", "Dense needs the argument 'units'."),
        ("Dense", "/layers/0", "Dense needs the argument 'units'."),
        ({"Activation": {"activation": "rellu"}}, "/layers/0/Activation/activation", UNKNOWN_ACTIVATION),
        ({"Activation": {"function": "relu", "activation": None}}, "/layers/0/Activation/function", NO_FUNCTION),
        ({"Dense": {"units": 1, "input_shape": [4]}}, "/layers/0/Dense/input_shape", OLD_SHAPE),
        ({"Dropout": {"rate": 2}}, "/layers/0/Dropout/rate", "rate must be a number from 0 to 1, not 2."),
        ({"Dropout": {"rate": 0, "seed": -1}}, "/layers/0/Dropout/seed", BAD_SEED),
        ({"TimeDistributed": {"layer": {"Dense": {"units": 0}}}}, f"/layers/0/{INNER}/Dense/units", BAD_UNITS),
        ({"Conv2D": {"filters": 4, "kernel_size": [3, 1025]}}, "/layers/0/Conv2D/kernel_size", BAD_KERNEL),
        (config_of("Dense", units=0), "/layers/0/config/units", BAD_UNITS),
        (7, "/layers/0", 'The layer must be a name, {"Name": {arguments}} or a Keras configuration.'),
        ({"InputLayer": {"shape": [4]}}, "/layers/0", "Leave InputLayer out: input_shape says the same."),
        ({"RNN": {"cell": {"LSTM": {"units": 1}}}}, "/layers/0/RNN/cell", BAD_CELL),
    ],
)  # fmt: skip
def test_sentences_about_layers(layer: Any, pointer: str, message: str) -> None:
    assert wrong_layers(layer) == [(pointer, message)]


def test_all_wrong_layers_are_named() -> None:
    found = wrong(architecture.from_layers, ["Dens", DENSE, {"Dense": {"units": 0, "bias": 1}}], [0], pointer="/model")
    assert [pointer for pointer, _ in found] == [
        "/model/input_shape",
        "/model/layers/0",
        "/model/layers/2/Dense/units",
        "/model/layers/2/Dense/bias",
    ]


def test_the_message_counts_the_others() -> None:
    with pytest.raises(BadSpec, match=r"did you mean 'Dense'\? \(2 more errors\)"):
        architecture.from_layers(["Dens", "Dens", "Dens"], [4])


def test_an_answer_lists_at_most_fifty_errors() -> None:
    assert len(wrong_layers(*["Dens"] * 400)) == 50


@pytest.mark.parametrize("units", [10**12, -1, 0, 1.5, 4.0, "64", True, None, [64], {}, "9" * 500])
def test_sizes_are_whole_and_bounded(units: Any) -> None:
    ((pointer, message),) = wrong_layers({"Dense": {"units": units}})
    assert pointer == "/layers/0/Dense/units"
    assert message.startswith("units must be a whole number from 1 to 65536, not ")


@pytest.mark.parametrize(
    "layer",
    [
        {"Conv2D": {"filters": 65537, "kernel_size": 3}},
        {"Conv2D": {"filters": 1, "kernel_size": 1025}},
        {"Conv2D": {"filters": 1, "kernel_size": 3, "strides": 0}},
        {"Conv2D": {"filters": 1, "kernel_size": 3, "padding": "SAME!"}},
        {"Conv1D": {"filters": 1, "kernel_size": 1025}},
        {"Embedding": {"input_dim": 5_000_001, "output_dim": 1}},
        {"Reshape": {"target_shape": [65536, 65536]}},
        {"Reshape": {"target_shape": [1] * 9}},
        {"Dense": {"units": 1, "use_bias": 1}},
        {"Dense": {"units": 1, "kernel_regularizer": {"L2": {"l2": -1}}}},
        {"Dense": {"units": 1, "dtype": "complex64"}},
        {"Dense": {"units": 1, "dtype": config_of("QuantizedDTypePolicy", "keras", mode="int8")}},
        {"Dense": {"units": 1, "quantization_config": {}}},
        {"Embedding": {"input_dim": 1, "output_dim": 1, "weights": [[1]]}},
        {"ZeroPadding2D": {"padding": [[1, 10**6], [1, 1]]}},
        {"EinsumDense": {"equation": "ab,bc->ac; import os", "output_shape": 3}},
        {"MelSpectrogram": {"window": "/etc/passwd"}},
        {"Resizing": {"height": 10**6, "width": 4}},
        {"Normalization": {"mean": "file.npy", "variance": [1]}},
        {"StackedRNNCells": {"cells": []}},
        {"Dense": {"units": 1, "activation": {"Dense": {"units": 4}}}},
        {"Dense": {"units": 1, "activation": 3}},
    ],
)  # fmt: skip
def test_values_out_of_their_kind(layer: dict[str, Any]) -> None:
    assert len(wrong_layers(layer)) == 1


@pytest.mark.parametrize("shape", [None, "28", 28, [0], [-1], [2.0], [True], [10_000_001], [65536, 65536], [1] * 9, {}])
def test_input_shapes(shape: Any) -> None:
    ((pointer, message),) = wrong(architecture.from_layers, [DENSE], shape, pointer="/model")
    assert pointer == "/model/input_shape"
    assert message.startswith("input_shape must be a list of")


def test_optimizers_losses_metrics_and_callbacks_say_what_is_wrong() -> None:
    assert wrong(architecture.checked_optimizer, "adm", pointer="/compile/optimizer") == [
        ("/compile/optimizer", "Unknown optimizer 'adm': did you mean 'Adam'?")
    ]
    assert wrong(architecture.checked_optimizer, {"Adam": {"lr": 1}}, pointer="/o") == [
        ("/o/Adam/lr", "Adam has no argument 'lr': write learning_rate.")
    ]
    assert wrong(architecture.checked_optimizer, {"Adam": {"learning_rate": -1}}) == [
        (
            "/Adam/learning_rate",
            "learning_rate must be a number from 0 to 1000000, or a learning-rate schedule, not -1.",
        )
    ]
    assert wrong(architecture.checked_loss, "mes")[0][1] == "Unknown loss 'mes': did you mean 'mse'?"
    assert wrong(architecture.checked_metric, {"AUC": {"curve": "X"}}) == [
        ("/AUC/curve", "curve must be 'ROC' or 'PR' or 'PRGAIN', not 'X'.")
    ]
    assert "see the spec's checkpoint" in wrong(architecture.checked_callback, "OrbaxCheckpoint")[0][1]
    assert wrong(architecture.checked_metric, "crossentropy")[0][1].startswith(
        "'crossentropy' is not allowed: Keras does"
    )
    for call in (architecture.checked_optimizer, architecture.checked_loss, architecture.checked_metric):
        for value in (None, 3, [], {}, {"a": 1, "b": 2}, ["adam"]):
            assert wrong(call, value, pointer="/x")[0][0] == "/x"


# Hostile input (the numbers are those of the project's list of bad inputs).


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "\ufeff{}", "\x00", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}',
        '{"a": 1' + "0" * 400 + "}", '{"a": -9007199254740993}', "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"a": "' + "x" * 1_100_000 + '"}', '"\ud800"', '{"class_name": ["Sequential"], "config": {}}',
        '{"class_name": "Sequential"}', '{"class_name": "Functional", "config": {}}', '{"' + "k" * 2000 + '": 1}',
    ],
)  # fmt: skip
def test_x01_x02_text_that_is_no_architecture(text: str) -> None:
    wrong(architecture.checked, text)


def test_x02_depth_and_breadth() -> None:
    deep: Any = "Flatten"
    for _ in range(DEPTH_MOST):
        deep = {"TimeDistributed": {"layer": deep}}
    assert "nested deeper" in wrong_layers(deep)[0][1]
    assert "more than" in wrong_layers(*[{}] * (NODES_MOST + 1))[0][1]
    assert "more than" in wrong(architecture.checked_optimizer, {"Adam": dict.fromkeys(map(str, range(10**6)))})[0][1]
    wrong(architecture.from_layers, [{"Dense": {"units": object()}}], [4])
    wrong(architecture.from_layers, [{"Dense": {1: 2}}], [4])
    wrong(architecture.from_layers, [{"Dense": {"units": float("nan")}}], [4])


@pytest.mark.parametrize("name", sorted(REFUSED["layers"]))
@pytest.mark.parametrize("place", ["alone", "keras", "wrapper", "model"])
def test_x04_x08_x09_layers_that_carry_code_or_read_files(name: str, place: str) -> None:
    layer = {
        "alone": {name: {"function": "os.system", "vocabulary": "/etc/passwd"}},
        "keras": config_of(name, vocabulary="http://169.254.169.254/"),
        "wrapper": {"TimeDistributed": {"layer": {name: {}}}},
        "model": sequential(config_of(name, filepath="/tmp/x")),
    }[place]
    ((_, message),) = wrong_layers(layer)
    assert message.startswith(f"'{name}' is not allowed: it ")


MODULES: tuple[Any, ...] = (
    *("os", "subprocess", "builtins", "keras.src.layers.core.dense", "keras.config", "keras.layers.", " keras.layers"),
    *("keras.l\u0430yers", "keras.layers\x00", "keras_hub", "keras.optimizers", "", ["keras.layers"], {}, 0),
)


@pytest.mark.parametrize("module", MODULES)
def test_x05_modules(module: Any) -> None:
    ((pointer, message),) = wrong_layers(config_of("Dense", module, units=4))
    assert pointer == "/layers/0/module"
    assert message.startswith("Dense is in keras.layers, not in ")


FUNCTIONS = (
    *("keras.config.set_floatx", "keras.config.enable_unsafe_deserialization", "keras.datasets.mnist.load_data"),
    *("keras.utils.plot_model", "keras.models.clone_model", "keras.layers.deserialize", "keras.tree.map_structure"),
    *(
        "keras.utils.get_file",
        "os.system",
        "builtins.eval",
        "keras.export.ExportArchive",
        "keras.saving.KerasFileEditor",
    ),
)
SLOTS = ("activation", "kernel_initializer", "kernel_regularizer", "kernel_constraint", "dtype", "name", "units")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_x06_functions_in_every_slot(function: str) -> None:
    module, _, name = function.rpartition(".")
    for class_name in ("function", name):
        gadget = {"module": module, "class_name": class_name, "config": name, "registered_name": name}
        for slot in SLOTS:
            wrong_layers({"Dense": {"units": 1} | {slot: gadget}})
        for call in (architecture.checked_loss, architecture.checked_metric, architecture.checked_optimizer):
            wrong(call, gadget)
        wrong(architecture.checked_optimizer, {"SGD": {"learning_rate": gadget}})
        wrong(architecture.checked_callback, gadget)
        wrong_layers(gadget)
        wrong(architecture.checked, gadget)
        wrong(architecture.checked, functional(called("b", tensor("a"), gadget)))
        wrong(architecture.checked, functional(called("b", tensor("a"), mask=gadget)))


def test_x07_registered_names() -> None:
    layer = config_of("Dense", units=4)
    assert architecture.from_layers([layer | {"registered_name": "Dense"}], [4])
    for name in ("Custom>Dense", "os", 3, ["Dense"], "keras"):
        assert wrong_layers(layer | {"registered_name": name})[0][0] == "/layers/0/registered_name"


@pytest.mark.parametrize(
    "name", ["__lambda__", "__tensor__", "__numpy__", "__typespec__", "__bytes__", "__slice__", "__ellipsis__", "__x__"]
)
def test_x08_raw_data_and_code(name: str) -> None:
    raw = {"class_name": name, "config": {"value": "x", "dtype": "object"}, "spec_name": "s", "module": "os"}
    assert "is not allowed" in wrong_layers({"Dense": {"units": 1, "kernel_initializer": raw}})[0][1]
    assert "is not allowed" in wrong_layers(raw)[0][1]
    wrong_layers({"Dense": {"units": raw}})
    wrong(architecture.checked, functional(called("b", tensor("a"), raw)))
    wrong(architecture.checked_loss, raw)


def test_a_lambda_is_told_from_a_layer_lambda() -> None:
    bytecode = ["4wEAAAAA", None, None]
    dumped = {"class_name": "__lambda__", "config": {"value": bytecode}}
    # Of an activation's lambda Keras 3 writes the inner part alone.
    for slot, noun, value, end in (
        ("activation", "activation", dumped, ""),
        ("activation", "activation", {"value": bytecode}, ""),
        ("kernel_initializer", "initializer", dumped, "/class_name"),
        ("bias_regularizer", "regularizer", dumped, "/class_name"),
    ):
        ((pointer, message),) = wrong(architecture.checked, sequential(config_of("Dense", units=1, **{slot: value})))
        assert pointer == f"/config/layers/0/config/{slot}{end}"
        assert message.startswith(f"A lambda as the {noun} is not allowed: it carries code")
        assert message.endswith(f"use a built-in {noun}.")
    optimizer = config_of("SGD", "keras.optimizers", learning_rate=dumped)
    ((_, message),) = wrong(architecture.checked_optimizer, optimizer)
    assert "use a built-in learning-rate schedule." in message
    layer = config_of("Lambda", name="mine", function=dumped)
    ((_, message),) = wrong(architecture.checked, sequential(layer))
    assert message.startswith("Layer 'mine': 'Lambda' is not allowed: it carries code")


NAMES = (
    *(
        "../../x",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "a..b",
        "x" * 10_000,
        "x" * 65,
        "\x1b[31mred",
        "a\r\nb",
        "\u202etxt",
        "😀",
    ),
    *("", " ", "a b", "é", "a\n", "trailing.", "\ud800", 7, ["a"], True),
)


@pytest.mark.parametrize("name", NAMES)
def test_x10_names(name: Any) -> None:
    wrong_layers({"Dense": {"units": 1, "name": name}})
    wrong(architecture.checked, sequential(DENSE) | {"config": {"name": name, "layers": [DENSE]}})
    wrong(architecture.checked, functional(called("b", tensor("a")) | {"name": name}))
    wrong(architecture.checked_optimizer, {"Adam": {"name": name}})


def test_x12_too_many_layers() -> None:
    assert architecture.from_layers(["Flatten"] * 2048, [4])
    assert "more than 2048 layers" in wrong_layers(*["Flatten"] * 2049)[0][1]
    inner = sequential(*["Flatten"] * 1200)
    assert "more than 2048 layers" in wrong(architecture.checked, sequential(inner, inner))[0][1]


def test_x12_models_in_models() -> None:
    model = sequential("Flatten")
    for _ in range(7):
        model = sequential(model)
    assert architecture.checked(model)
    assert "nested deeper than 8" in wrong(architecture.checked, sequential(model))[0][1]


def test_a_sequential_model_without_layers_or_with_twins() -> None:
    assert wrong(architecture.checked, sequential())[0][0] == "/config/layers"
    twins = [config_of("Flatten", name="x"), config_of("Flatten", name="x")]
    assert wrong(architecture.checked, sequential(*twins)) == [("/config/layers/1", "Two layers have the name 'x'.")]
    assert wrong(architecture.checked, sequential("Flatten", START))[0][0].startswith("/config/layers/1")
    assert wrong(architecture.checked, sequential("Flatten", custom_objects={}))[0][0] == "/config/custom_objects"
    assert wrong(architecture.checked, sequential({"InputLayer": {}}))[0][1].startswith("InputLayer needs")
    assert wrong(architecture.checked, sequential(DENSE, build_input_shape=[None, 10**9]))[0][0].endswith("_shape")


@pytest.mark.parametrize(
    ("layers", "pointer", "message"),
    [
        ([called("b", tensor("c"))], "1/inbound_nodes/0/args/0/config/keras_history", "There is no layer 'c'"),
        ([called("b", tensor("a", 1))], "1/inbound_nodes/0/args/0/config/keras_history", "The node of layer 'a'"),
        ([called("b", tensor("a", -1))], "1/inbound_nodes/0/args/0/config/keras_history", "The node of layer 'a'"),
        ([called("b", tensor("a", 0, 10**6))], "1/inbound_nodes/0/args/0/config/keras_history", "A result's number"),
        ([called("b", tensor("b"))], "", "The layers form a loop: 'b' needs its own result."),
        ([called("b", tensor("c")), called("c", tensor("b"))], "", "The layers form a loop"),
        ([called("b", tensor("a")), called("b", tensor("a"))], "2", "Two layers have the name 'b'."),
        (
            [called("b", tensor("a")), called("c", tensor("a")) | {"inbound_nodes": []}],
            "2",
            "Layer 'c' is connected to",
        ),
        ([called("b")], "1/inbound_nodes/0", "Layer 'b' is called without a tensor."),
        ([called("b", tensor("a"), evil=1)], "1/inbound_nodes/0/kwargs/evil", "No layer takes 'evil'"),
        ([called("b", tensor("a"), "os")], "1/inbound_nodes/0/args/1", "A layer is called with tensors, numbers"),
        ([called("b", tensor("a")) | {"inbound_nodes": [[["a", 0, 0, {}]]]}], "1/inbound_nodes/0", "A node must be"),
        ([called("b", tensor("a")) | {"inbound_nodes": {}}], "1/inbound_nodes", "Layer 'b' needs an array"),
        ([called("b", tensor("a")) | {"name": "c"}], "1/name", "The layer is called 'c' here"),
        ([called("b", {**tensor("a"), "config": {}})], "1/inbound_nodes/0/args/0/config", "A tensor must have"),
    ],
)
def test_x12_wiring(layers: list[Any], pointer: str, message: str) -> None:
    found = wrong(architecture.checked, functional(*layers), pointer="/model/architecture")
    assert any(
        at == f"/model/architecture/config/layers/{pointer}".rstrip("/") and text.startswith(message)
        for at, text in found
    ), found


@pytest.mark.parametrize(
    "ends", [None, [], {}, "b", [["c", 0, 0]], [["b", 7, 0]], [["b", 0]], [[]], {"../x": ["b", 0, 0]}]
)
def test_x12_outputs(ends: Any) -> None:
    found = wrong(architecture.checked, functional(called("b", tensor("a")), output_layers=ends))
    assert all(pointer.startswith("/config/output_layers") for pointer, _ in found)


def test_inputs_are_input_layers() -> None:
    found = wrong(architecture.checked, functional(called("b", tensor("a")), input_layers=["b", 0, 0]))
    assert found == [("/config/input_layers", "An input of the model must be an InputLayer, and 'b' is none.")]


def test_x13_bombs_in_what_is_dropped_still_count() -> None:
    bomb: list[Any] = [[] for _ in range(NODES_MOST)]
    assert "more than" in wrong(architecture.checked, sequential(DENSE) | {"build_config": bomb})[0][1]


def test_entries_that_keras_does_not_write_are_refused() -> None:
    assert wrong_layers(config_of("Dense", units=1) | {"fn": "x", "a/b~": 1}) == [
        ("/layers/0/a~1b~0", "A Keras configuration has no entry 'a/b~'."),
        ("/layers/0/fn", "A Keras configuration has no entry 'fn'."),
    ]


def test_operations_on_tensors_are_layers_of_a_graph() -> None:
    add = config_of("Add", "keras.src.ops.numpy", name="b") | {"registered_name": "Add"}
    part = {"class_name": "__slice__", "config": {"start": None, "stop": 2, "step": None}}
    item = config_of("GetItem", "keras.src.ops.numpy", name="c") | {"registered_name": "GetItem"}
    nodes = [{"args": [tensor("a"), 1.0], "kwargs": {}}]
    model = functional(
        add | {"name": "b", "inbound_nodes": nodes},
        item | {"name": "c", "inbound_nodes": [{"args": [tensor("b"), [part, 0]], "kwargs": {}}]},
    )
    assert architecture.checked(model)["config"]["layers"][1]["module"] == "keras.src.ops.numpy"
    map_ = config_of("Map", "keras.src.ops.core", name="b") | {"registered_name": "Map"}
    assert "use a layer" in wrong(architecture.checked, functional(map_ | {"name": "b", "inbound_nodes": nodes}))[0][1]
    part["config"]["stop"] = "os"
    assert "A slice's stop" in wrong(architecture.checked, model)[0][1]


#: Words that mean something to the check.
WORDS = [
    *("class_name", "config", "module", "registered_name", "name", "layers", "units", "args", "kwargs", "function"),
    *("Dense", "Sequential", "Functional", "keras", "keras.layers", "Adam", "mse", "__keras_tensor__", "keras_history"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(value=JSON, place=st.integers(0, 10**6))
def test_anything_anywhere_is_passed_or_refused_and_nothing_else(value: Any, place: int) -> None:
    model = functional(called("b", tensor("a"), mask=None), sequential(config_of("Dense", units=4, activation="relu")))
    spots = list(containers(model))
    container, key = spots[place % len(spots)]
    container[key] = value
    for call, given_value in [
        (architecture.checked, model),
        (architecture.checked_optimizer, value),
        (architecture.checked_loss, value),
        (architecture.checked_metric, value),
        (architecture.checked_callback, value),
    ]:
        with contextlib.suppress(BadSpec):
            assert isinstance(call(given_value), dict)


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a value: what holds it, and under which key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from containers(item)
