"""What the allow-list lets through is what Keras itself writes and reads."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as kl

from shared import architecture
from shared.allowlist.catalog import ACTIVATIONS, CALL_ARGUMENTS
from shared.allowlist.lookup import ALIASES, CATALOG, Entry, snake

#: A sensible value for each argument that some class cannot do without.
REQUIRED: dict[str, Any] = {
    **dict.fromkeys(
        ("factor", "precision", "rate", "recall", "scale", "sensitivity", "specificity", "decay_rate"), 0.5
    ),
    **dict.fromkeys(("height_factor", "initial_learning_rate", "stddev", "width_factor"), 0.1),
    **dict.fromkeys(("filters", "height", "width"), 4),
    **dict.fromkeys(("kernel_size", "max_number", "n", "num_classes", "output_dim", "output_shape", "units"), 3),
    **dict.fromkeys(("head_dim", "key_dim", "num_heads", "num_query_heads", "output_size", "pool_size"), 2),
    **dict.fromkeys(("axes", "num_key_value_heads"), 1),
    **dict.fromkeys(("decay_steps", "first_decay_steps", "input_dim"), 10),
    "activation": "relu",
    "boundaries": [1],
    "cell": {"LSTMCell": {"units": 2}},
    "cells": [{"LSTMCell": {"units": 2}}, {"GRUCell": {"units": 2}}],
    "dims": [2, 1],
    "equation": "...ab,bc->...ac",
    "inner_optimizer": "sgd",
    "layer": {"Dense": {"units": 2}},
    "layers": [{"Dense": {"units": 2}}, "Flatten"],
    "target_class_ids": [0],
    "target_shape": [2, -1],
    "values": [0.1, 0.2],
}
#: What single classes need besides, or in its place.
SPECIAL: dict[str, dict[str, Any]] = {
    "Bidirectional": {"layer": {"LSTM": {"units": 2}}},
    "CategoryEncoding": {"num_tokens": 4},
    "Discretization": {"bin_boundaries": [0.5, 1.5]},
    "InputLayer": {"shape": [4, 3]},
    "RandomPosterization": {"factor": 4},
}

ENTRIES = [entry for table in CATALOG.values() for entry in table.values()]


def exported(entry: Entry) -> Any:
    """Return the class that Keras exports under the catalogue's module and name."""
    found = keras
    for step in entry.module.split(".")[1:]:
        found = getattr(found, step)
    return getattr(found, entry.name)


def short(entry: Entry) -> dict[str, Any]:
    """Return the shortest form of a class that works."""
    arguments = {name: REQUIRED[name] for name in sorted(entry.required)}
    return {entry.name: arguments | SPECIAL.get(entry.name, {})}


def checked(entry: Entry, value: Any) -> dict[str, Any]:
    """Return the checked configuration of one object, through the public functions where there is one."""
    public: dict[str, Callable[[object], dict[str, Any]]] = {
        "optimizers": architecture.checked_optimizer,
        "losses": architecture.checked_loss,
        "metrics": architecture.checked_metric,
        "callbacks": architecture.checked_callback,
    }
    if entry.kind in public:
        return public[entry.kind](value)
    homes: dict[str, Callable[[Any], Any]] = {
        "initializers": lambda item: within("Dense", "kernel_initializer", item, units=1),
        "regularizers": lambda item: within("Dense", "kernel_regularizer", item, units=1),
        "constraints": lambda item: within("Dense", "kernel_constraint", item, units=1),
        "generators": lambda item: within("Dropout", "seed", item, rate=0.5),
        "policies": lambda item: within("Dense", "dtype", item, units=1),
        "schedules": lambda item: architecture.checked_optimizer({"SGD": {"learning_rate": item}})["config"][
            "learning_rate"
        ],
        "layers": one_layer,
    }
    return dict(homes[entry.kind](value))


def one_layer(value: Any) -> Any:
    """Return the checked configuration of a layer that stands alone in a model."""
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "one", "layers": [value]}}
    return architecture.checked(model)["config"]["layers"][0]


def within(layer: str, argument: str, value: Any, **others: Any) -> Any:
    """Return the checked configuration of a layer's argument."""
    return one_layer({layer: {argument: value, **others}})["config"][argument]


def revived(config: dict[str, Any]) -> Any:
    """Return the object that Keras makes of a checked configuration."""
    return keras.saving.deserialize_keras_object(json.loads(json.dumps(config)), safe_mode=True)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}.{entry.name}")
def test_each_class_exists_and_takes_its_arguments(entry: Entry) -> None:
    cls = exported(entry)
    parameters = inspect.signature(cls.__init__).parameters
    named = {name for name, item in parameters.items() if item.kind is item.POSITIONAL_OR_KEYWORD} - {"self"}
    if entry.name == "LearningRateScheduler":
        # Its function travels as the table of what it gives.
        parameters = {"rates" if name == "schedule" else name: item for name, item in parameters.items()}
        named = named - {"schedule"} | {"rates"}
    needed = {name for name in named if parameters[name].default is inspect.Parameter.empty}
    assert entry.required == needed
    if entry.kind == "callbacks":
        assert set(entry.arguments) == named
        return
    written = set(revived(checked(entry, short(entry))).get_config())
    base = {"name", "trainable", "dtype", "activity_regularizer"} if entry.kind == "layers" else set()
    assert set(entry.arguments) - named - written <= base
    assert named <= set(entry.arguments), "an argument of Keras is missing in the catalogue"


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.kind == "layers"], ids=lambda entry: entry.name)
def test_each_layer_takes_what_every_layer_does(entry: Entry) -> None:
    values = {"name": "it", "trainable": False, "dtype": "float32", "activity_regularizer": {"L2": {"l2": 0.1}}}
    given = {name: value for name, value in values.items() if name in entry.arguments}
    form = {entry.name: short(entry)[entry.name] | given}
    assert revived(checked(entry, form)).name == "it"


@pytest.mark.parametrize(
    "entry",
    [e for e in ENTRIES if e.kind not in ("callbacks", "policies")],
    ids=lambda entry: f"{entry.kind}.{entry.name}",
)
def test_what_keras_writes_passes_and_means_the_same(entry: Entry) -> None:
    thing = revived(checked(entry, short(entry)))
    assert type(thing) is exported(entry)
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    again = checked(entry, written)
    assert again["config"] == written["config"]
    assert json.loads(json.dumps(revived(again).get_config())) == written["config"]


def test_the_catalogue_is_complete() -> None:
    known = {
        "optimizers": {"Optimizer", "MultiOptimizer", "OptimizerMap"},
        "losses": {"Loss"},
        # A model cannot be compiled with Mean and Sum: they take no labels.
        "metrics": {"Metric", "MeanMetricWrapper", "Mean", "Sum"},
        "regularizers": {"Regularizer"},
        "constraints": {"Constraint"},
        "initializers": {"Initializer"},
        "layers": {
            "InputSpec", "Layer", "Wrapper", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer",
            "StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing",
        },
    }  # fmt: skip
    for kind, left_out in known.items():
        names = {name for name, item in vars(getattr(keras, kind)).items() if inspect.isclass(item)}
        assert names - set(ALIASES[kind]) == left_out, kind


@pytest.mark.parametrize("kind", ["losses", "metrics", "initializers", "regularizers", "constraints", "optimizers"])
def test_names_mean_what_they_mean_to_keras(kind: str) -> None:
    module = getattr(keras.src, kind)
    refused = {"Loss", "LossFunctionWrapper", "Metric", "metric", "MeanMetricWrapper", "mean_metric_wrapper"}
    refused |= {"Initializer", "initializer", "Regularizer", "regularizer", "Constraint", "constraint"}
    refused |= {"optimizer", "multioptimizer", "optimizermap"}
    if kind == "metrics":
        refused |= {"Mean", "mean", "Sum", "sum"}
    names = set(module.ALL_OBJECTS_DICT) - refused
    assert names <= set(ALIASES[kind])
    for name in names:
        theirs = module.ALL_OBJECTS_DICT[name]
        ours = ALIASES[kind][name]
        if inspect.isclass(theirs):
            assert getattr(module, ours) is theirs, name
        else:
            assert getattr(module, ours)().fn is theirs, name


def test_layers_have_the_other_names_that_keras_gives_them() -> None:
    for alias, name in ALIASES["layers"].items():
        if alias not in ("Input", "GroupedQueryAttention"):
            assert getattr(kl, alias) is getattr(kl, name)


def test_activations_are_those_of_keras() -> None:
    assert set(keras.src.activations.ALL_OBJECTS_DICT) == ACTIVATIONS
    for name in ACTIVATIONS:
        layer = revived(one_layer({"Dense": {"units": 1, "activation": name}}))
        assert layer.activation is keras.activations.get(name)


def test_call_arguments_are_those_of_keras() -> None:
    names: set[str] = set()
    for entry in CATALOG["layers"].values():
        names |= set(inspect.signature(exported(entry).call).parameters)
    assert names - {"self", "args", "kwargs"} <= CALL_ARGUMENTS


def test_a_metric_by_name_keeps_it_in_the_history() -> None:
    config = architecture.checked_metric("mse")
    assert revived(config).name == "mse"
    assert type(revived(config)) is keras.metrics.MeanSquaredError


def test_keras_chooses_accuracy_and_crossentropy_by_the_outputs_shape() -> None:
    model = keras.Sequential([kl.Input((4,)), kl.Dense(3, activation="softmax")])
    loss = architecture.checked_loss("crossentropy")["name"]
    model.compile("sgd", loss=loss, metrics=[architecture.checked_metric("acc")["name"]])
    history = model.fit(np.ones((4, 4)), np.array([0, 1, 2, 0]), verbose=0)
    assert set(history.history) == {"loss", "acc"}


# Models, from Keras and back.


def mlp() -> keras.Model:
    return keras.Sequential([kl.Input((28, 28)), kl.Flatten(), kl.Dense(16, activation="relu"), kl.Dense(10)])


def unbuilt() -> keras.Model:
    return keras.Sequential([kl.Dense(4), kl.LeakyReLU(), kl.Dense(2)])


def activations() -> keras.Model:
    inside = [kl.Dense(4, activation=kl.ReLU(max_value=6)), kl.Dense(3, activation=keras.activations.gelu)]
    return keras.Sequential([kl.Input((3,)), *inside, kl.Activation(keras.activations.softmax), kl.PReLU()])


def cnn() -> keras.Model:
    return keras.Sequential(
        [
            kl.Input((16, 16, 3)),
            kl.Rescaling(1 / 255),
            kl.RandomFlip(),
            kl.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(1e-4), use_bias=False),
            kl.BatchNormalization(renorm=True, renorm_clipping={"rmax": 3.0}),
            kl.ReLU(6.0),
            kl.MaxPooling2D(),
            kl.SeparableConv2D(4, (3, 5), dilation_rate=2, padding="same", depthwise_constraint="max_norm"),
            kl.DepthwiseConv2D(3, strides=2),
            kl.SpatialDropout2D(0.1),
            kl.GlobalAveragePooling2D(),
            kl.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=keras.random.SeedGenerator(3))),
        ]
    )


def transposed() -> keras.Model:
    inside = [kl.Conv2DTranspose(2, 3, strides=2), kl.ZeroPadding2D(((1, 2), (3, 4))), kl.Cropping2D(1)]
    return keras.Sequential(
        [kl.Input((4, 4, 2)), *inside, kl.UpSampling2D(interpolation="bilinear"), kl.Permute((3, 1, 2))]
    )


def text() -> keras.Model:
    inside = [kl.Embedding(50, 4, mask_zero=True), kl.Bidirectional(kl.LSTM(3, return_sequences=True))]
    return keras.Sequential([kl.Input((7,)), *inside, kl.Bidirectional(kl.GRU(2), merge_mode="sum"), kl.Dense(1)])


def recurrent_cells() -> keras.Model:
    cell = kl.StackedRNNCells([kl.LSTMCell(3), kl.GRUCell(2), kl.SimpleRNNCell(2)])
    return keras.Sequential([kl.Input((5, 4)), kl.RNN(cell, return_sequences=True), kl.SimpleRNN(3)])


def conv_lstm() -> keras.Model:
    return keras.Sequential([kl.Input((3, 6, 6, 2)), kl.ConvLSTM2D(2, 3), kl.Flatten(), kl.Dense(1)])


def wrapped() -> keras.Model:
    inner = keras.Sequential([kl.Input((4,)), kl.Dense(3), kl.Dropout(0.5)])
    spectral = kl.SpectralNormalization(kl.Dense(2), power_iterations=2)
    return keras.Sequential([kl.Input((5, 4)), kl.TimeDistributed(inner), kl.TimeDistributed(spectral)])


def numbers() -> keras.Model:
    inside = [kl.Normalization(axis=-1, mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 2.0]), kl.GaussianNoise(0.1)]
    return keras.Sequential([kl.Input((3,)), *inside, kl.Discretization([0.0, 1.0], output_mode="one_hot")])


def adapted() -> keras.Model:
    layer = kl.Normalization()
    layer.adapt(np.array([[1.0, 2.0], [3.0, 5.0]]))
    return keras.Sequential([kl.Input((2,)), layer, kl.Dense(1)])


def mixed() -> keras.Model:
    return keras.Sequential([kl.Input((4,)), kl.Dense(3, dtype="mixed_bfloat16"), kl.Dense(1, dtype="float32")])


def residual() -> keras.Model:
    start = kl.Input((8, 8, 4))
    x = kl.LayerNormalization()(start)
    x = kl.Conv2D(4, 3, padding="same")(x)
    x = kl.Add()([start, x])
    return keras.Model(start, kl.Dense(2, name="out")(kl.GlobalMaxPooling2D()(x)), name="residual")


def many_ends() -> keras.Model:
    a, b = kl.Input((4,), name="a"), kl.Input((3,), name="b", dtype="int32")
    x = kl.Concatenate()([kl.Dense(2)(a), kl.Flatten()(kl.Embedding(9, 2)(b))])
    return keras.Model({"a": a, "b": b}, {"one": kl.Dense(1, name="one")(x), "two": kl.Dense(2, name="two")(x)})


def shared_layer() -> keras.Model:
    a, b = kl.Input((4,)), kl.Input((4,))
    tower = kl.Dense(3)
    return keras.Model([a, b], [kl.Dot(1)([tower(a), tower(b)]), kl.Subtract()([tower(a), tower(b)])])


def attention() -> keras.Model:
    words = kl.Input((6,), dtype="int32")
    x = kl.Embedding(20, 8, mask_zero=True)(words)
    y, scores = kl.MultiHeadAttention(2, 4)(x, x, return_attention_scores=True, use_causal_mask=True)
    z = kl.GroupQueryAttention(4, 2, 1)(x, y, key=x)
    return keras.Model(words, [kl.Attention()([x, z]), scores])


def encoder_decoder() -> keras.Model:
    a, b = kl.Input((5, 2)), kl.Input((4, 2))
    _, h, c = kl.LSTM(3, return_state=True)(a)
    return keras.Model([a, b], kl.Dense(1)(kl.LSTM(3)(b, initial_state=[h, c])))


def nested_models() -> keras.Model:
    inner_start = kl.Input((4,))
    inner = keras.Model(inner_start, kl.Dense(4)(inner_start), name="inner")
    tail = keras.Sequential([kl.Input((4,)), kl.Dense(2)], name="tail")
    start = kl.Input((4,))
    return keras.Model(start, tail(inner(inner(start))))


def nested_end() -> keras.Model:
    inner_start = kl.Input((4,))
    inner = keras.Model(inner_start, [kl.Dense(4)(inner_start), kl.Dense(2)(inner_start)], name="inner")
    start = kl.Input((4,))
    return keras.Model(start, inner(start))


def deeply_nested() -> keras.Model:
    model = residual()
    for _ in range(7):
        start = kl.Input((8, 8, 4))
        model = keras.Model(start, model(start))
    return model


def deep() -> keras.Model:
    start = x = kl.Input((8, 8, 4))
    for _ in range(100):
        x = kl.Add()([x, kl.ReLU()(kl.BatchNormalization()(kl.Conv2D(4, 3, padding="same")(x)))])
    return keras.Model(start, x)


def audio() -> keras.Model:
    return keras.Sequential([kl.Input((4000, 1)), kl.STFTSpectrogram(frame_step=64), kl.Conv1D(2, 5, padding="causal")])


def einsum() -> keras.Model:
    dense = kl.EinsumDense("abc,cd->abd", output_shape=(None, 8), bias_axes="d")
    return keras.Sequential([kl.Input((5, 4)), dense, kl.Dense(4, lora_rank=2), kl.GroupNormalization(2)])


MODELS = [
    *(mlp, unbuilt, activations, cnn, transposed, text, recurrent_cells, conv_lstm, wrapped, numbers, adapted, mixed),
    *(residual, many_ends, shared_layer, attention, encoder_decoder, nested_models, nested_end, deeply_nested, deep),
    *(audio, einsum),
]


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_models_come_back_as_they_were(build: Callable[[], keras.Model]) -> None:
    model = build()
    model.compile("adam", loss="mse")
    text = model.to_json()
    config = architecture.checked(text)
    assert config == architecture.checked(json.loads(text)) == architecture.checked(config)
    assert "build_config" not in json.dumps(config)
    assert "compile_config" not in json.dumps(config)
    again = revived(config)
    assert type(again) is type(model)
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert architecture.checked(again.to_json()) == config
    if model.built:
        assert again.count_params() == model.count_params()


def test_models_of_other_module_names_pass() -> None:
    written = json.loads(residual().to_json())
    for module, name in [
        ("keras", "Functional"), ("keras.models", "Functional"), ("keras.models", "Model"), ("keras", "Model"),
    ]:  # fmt: skip
        again = revived(architecture.checked(written | {"module": module, "class_name": name, "registered_name": None}))
        assert again.count_params() == residual().count_params()
    written = json.loads(mlp().to_json())
    for module in ("keras", "keras.models", "keras.src.models.sequential"):
        assert revived(architecture.checked(written | {"module": module})).count_params() == mlp().count_params()


def test_the_short_form_builds_what_keras_would() -> None:
    layers = [
        {"Reshape": {"target_shape": [28, 28]}},
        {"Bidirectional": {"layer": {"LSTM": {"units": 4}}}},
        {"Dense": {"units": 8, "activation": {"LeakyReLU": {"negative_slope": 0.2}}, "kernel_regularizer": "l2"}},
        {"Dropout": {"rate": 0.5}},
        "Flatten",
        {"Dense": {"units": 10, "kernel_initializer": {"HeNormal": {"seed": 1}}}},
    ]
    model = revived(architecture.from_layers(layers, [784]))
    assert model.input_shape == (None, 784)
    assert [layer.name for layer in model.layers] == [
        "reshape", "bidirectional", "dense", "dropout", "flatten", "dense_1",
    ]  # fmt: skip
    expected = keras.Sequential(
        [kl.Input((784,)), kl.Reshape((28, 28)), kl.Bidirectional(kl.LSTM(4)), kl.Dense(8), kl.Dense(10)]
    )
    assert model.count_params() == expected.count_params()
    assert isinstance(model.layers[2].activation, kl.LeakyReLU)


def test_names_of_layers_are_those_that_keras_gives() -> None:
    for name in CATALOG["layers"]:
        assert snake(name) == keras.src.utils.naming.to_snake_case(name)


def test_operations_on_tensors_pass_and_compute_what_keras_does() -> None:
    start = kl.Input((4,))
    end = keras.ops.mean((start + 3.0)[:, 1:3], axis=-1, keepdims=True) * keras.ops.sigmoid(start)
    model = keras.Model(start, keras.ops.reshape(end, (-1, 2, 2)))
    again = revived(architecture.checked(model.to_json()))
    x = np.arange(12, dtype="float32").reshape(3, 4)
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_schedules_reach_the_optimizer() -> None:
    config = architecture.checked_optimizer(
        {"AdamW": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 100}}}}
    )
    optimizer = revived(config)
    again = architecture.checked_optimizer(json.loads(json.dumps(keras.optimizers.serialize(optimizer))))
    assert type(revived(again)._learning_rate) is keras.optimizers.schedules.CosineDecay
