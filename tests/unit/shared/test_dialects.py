"""Architectures of older Keras versions: how they are read, what they become, what is refused and where."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import architecture
from shared.dialects import reading, yamltext
from shared.errors import BadSpec

NUMBERS = """
class_name: Sequential
config:
- class_name: BatchNormalization
  config:
    axis: &axis !!python/object/apply:tensorflow.python.training.tracking.data_structures.ListWrapper
    - - 1
    name: !!python/unicode 'norm'
    batch_input_shape: !!python/tuple [null, 4]
    epsilon: !!python/object/apply:numpy.core.multiarray.scalar
    - !!python/object/apply:numpy.dtype
      args: [f8, 0, 1]
      state: !!python/tuple [3, <, null, null, null, -1, -1, 0]
    - !!binary |
      AAAAAAAA4D8=
- class_name: Dense
  config: {units: 1, name: out, kernel_regularizer: {class_name: L1L2, config: {l1: 0.0, l2: 1e-05}}}
keras_version: 2.2.4
"""


def wrong(given: Any) -> list[tuple[str, str]]:
    with pytest.raises(BadSpec) as caught:
        architecture.converted(given)
    return [(field.pointer, field.message) for field in caught.value.fields]


def old(*layers: Any, version: str = "2.2.4") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": list(layers), "keras_version": version}


def dense(**config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"units": 3, "name": "d", **config}}


def test_the_same_architecture_in_every_text_is_the_same() -> None:
    given = old(dense(batch_input_shape=(None, 4)))
    wanted = architecture.converted(given)
    texts = [
        json.dumps(given),
        json.dumps(json.dumps(given)),
        repr(given),
        yaml.dump(given),
        "\ufeff" + json.dumps(given),
    ]
    texts.append(json.dumps({"modelTopology": {"model_config": given}, "format": "layers-model"}))
    assert all(architecture.converted(text) == wanted for text in texts)
    first, second = wanted[0]["config"]["layers"]
    assert first["config"] == {"batch_shape": [None, 4], "dtype": "float32", "name": "d_input"}
    assert second["config"] == {"units": 3, "name": "d"}


def test_yaml_tags_that_keras_wrote_are_known() -> None:
    start, norm, out = architecture.checked(NUMBERS)["config"]["layers"]
    assert start["config"]["batch_shape"] == [None, 4]
    assert norm["config"] == {"axis": 1, "name": "norm", "epsilon": 0.5}
    assert out["config"]["kernel_regularizer"]["config"] == {"l1": 0.0, "l2": 1e-5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: !!python/object/apply:os.system [ls]", "Python object"),
        ("a: !!python/name:os.system", "Python object"),
        ("a: &a [*a]", "alias"),
        ("- " * 40 + "1", "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("{'a': " * 5_000, "not JSON"),
        ("a: " + "x" * 1_000_001, "longer than"),
        (
            "\n".join(["a: &a0 [1,1,1,1,1,1,1,1,1]", *(f"b{n}: &a{n + 1} [{f'*a{n},' * 9}]" for n in range(20))]),
            "more than",
        ),
        ("{'a': 9**9**9}", "must be the configuration"),
        ("a: .nan", "NaN"),
        ("a: 1\n---\nb: 2", "more than one document"),
    ],
)
@pytest.mark.timeout(60)
def test_hostile_texts_are_refused_at_once(text: str, says: str) -> None:
    assert says in wrong(text)[0][1]


def test_yaml_that_is_written_is_read_back() -> None:
    config = architecture.checked(NUMBERS)
    config["config"]["layers"][1]["config"]["odd"] = [
        "yes",
        "1e5",
        "~",
        "null",
        " x",
        "ä",
        "1",
        "-",
        True,
        None,
        1e-7,
        2.0,
    ]
    assert yamltext.parsed(yamltext.to_yaml(config)) == config
    assert yaml.safe_load(yamltext.to_yaml(config)) == config


def test_hard_sigmoid_is_the_function_of_its_keras() -> None:
    layer = {"class_name": "LSTM", "config": {"units": 2, "recurrent_activation": "hard_sigmoid", "name": "l"}}
    first = {**layer, "config": {**layer["config"], "batch_input_shape": [None, 3, 2]}}
    made, changes = architecture.converted(old(first))
    parts = made["config"]["layers"][1]["config"]["recurrent_activation"]["config"]["layers"]
    assert [part["class_name"] for part in parts] == ["Rescaling", "ReLU"]
    assert any("hard_sigmoid" in change and "(l)" in change for change in changes)
    new = {"class_name": "Sequential", "keras_version": "3.9.0", "config": {"layers": [layer]}}
    assert architecture.checked(new)["config"]["layers"][0]["config"]["recurrent_activation"] == "hard_sigmoid"


@pytest.mark.parametrize(
    ("given", "argument", "taken"),
    [
        ({"class_name": "Dropout", "config": {"p": "0.5"}}, "rate", 0.5),
        ({"class_name": "Dense", "config": {"output_dim": "4"}}, "units", 4),
        ({"class_name": "Dense", "config": {"units": 4.0}}, "units", 4),
        ({"class_name": "Conv2D", "config": {"filters": 4.0, "kernel_size": [3.0, 3.0]}}, "kernel_size", [3, 3]),
        (
            {
                "class_name": "Dense",
                "config": {"units": 4, "dtype": {"class_name": "Policy", "config": {"name": "infer"}}},
            },
            "units",
            4,
        ),
    ],
)
def test_numbers_and_types_in_odd_forms_are_taken(given: Any, argument: str, taken: Any) -> None:
    (layer,) = architecture.converted(old(given))[0]["config"]["layers"]
    assert layer["config"][argument] == taken
    assert type(layer["config"][argument]) is type(taken)


def test_what_is_no_number_stays_what_it_is() -> None:
    (pointer, message), *_ = wrong(old(dense(units="4.5")))
    assert (pointer, "'4.5'" in message) == ("/config/0/config/units", True)


def test_an_indented_text_of_megabytes_is_read() -> None:
    given = old(dense(batch_input_shape=(None, 4)))
    text = json.dumps(given).replace("{", "{" + " " * 300_000)
    assert architecture.converted(text) == architecture.converted(given)


def test_everything_that_cannot_be_is_named_where_it_stood() -> None:
    given = old(
        dense(batch_input_shape=[None, 4], init="glorot_uniform", name="first"),
        {"class_name": "Lambda", "config": {"name": "code", "function": ["x" * 5000, None, None]}},
        {"class_name": "MyLayer", "config": {"name": "mine", "layers": {"odd": 1}}},
        {"class_name": "Dropout", "config": {"p": 7, "name": "drop"}},
    )
    found = dict(wrong(given))
    assert list(found) == ["/config/1", "/config/2", "/config/3/config/p"]
    assert found["/config/1"].startswith("Layer 'code': 'Lambda' is not allowed: it carries code")
    assert found["/config/2"].startswith("Layer 'mine': Unknown layer 'MyLayer'")


def test_a_tensorflow_graph_is_no_architecture() -> None:
    assert "TensorFlow graph" in wrong({"format": "graph-model", "modelTopology": {"node": [], "versions": {}}})[0][1]


WORDS = [
    *(
        "class_name",
        "config",
        "layers",
        "name",
        "inbound_nodes",
        "input_layers",
        "output_layers",
        "Sequential",
        "Model",
    ),
    *("Dense", "Merge", "Highway", "MaxoutDense", "LSTM", "Bidirectional", "layer", "TFOpLambda", "function", "Graph"),
    *("batch_input_shape", "axis", "mode", "units", "node_config", "input_config", "TensorFlowOpLayer", "node_def"),
    *("activation", "keras_version", "2.1", "1.2", "InputLayer", "BatchNormalization", "a", "math.add", "constants"),
]
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=3)
)
ANYTHING = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
)
GRAPH = {
    "class_name": "Model",
    "keras_version": "2.1.6",
    "config": {
        "name": "m",
        "layers": [
            {"class_name": "InputLayer", "name": "a", "config": {"batch_input_shape": [None, 4]}, "inbound_nodes": []},
            {
                "class_name": "TFOpLambda",
                "name": "f",
                "config": {"function": "math.add"},
                "inbound_nodes": [[["a", 0, 0, {"y": 2}]]],
            },
            {"class_name": "LSTM", "name": "b", "config": {"units": 2}, "inbound_nodes": [[["f", 0, 0], ["a", 0, 0]]]},
        ],
        "input_layers": [["a", 0, 0]],
        "output_layers": [["b", 0, 0]],
    },
}
CHAIN = old(
    {"class_name": "Merge", "config": {"mode": "sum", "layers": [old(dense(batch_input_shape=[None, 4])), dense()]}},
    {"class_name": "Bidirectional", "config": {"layer": {"class_name": "GRU", "config": {"output_dim": 2}}}},
    {"class_name": "BatchNormalization", "config": {"mode": 1, "axis": [1]}},
    {"class_name": "Highway", "config": {"activation": "hard_sigmoid", "W_regularizer": {"name": "l2", "l2": 1}}},
    version="1.2.0",
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in paths(item, (*path, key)))]


FILES = sorted((Path(__file__).parents[2] / "fixtures" / "architectures").iterdir())
BASES = [GRAPH, CHAIN, *(reading.read(path.read_text())[0] for path in FILES)]
PLACES = [paths(base) for base in BASES]


def places(given: Any) -> list[str]:
    """Return where a conversion was refused, nowhere where it was not; anything else is raised."""
    try:
        architecture.converted(given)
    except BadSpec as error:
        return [field.pointer for field in error.fields] or ["none"]
    return []


@settings(max_examples=1500, deadline=2000)
@given(st.integers(0, len(BASES) - 1), st.lists(st.tuples(ANYTHING, st.integers(0, 100_000)), min_size=1, max_size=2))
def test_anything_anywhere_is_converted_or_refused_with_its_place(base: int, changes: list[tuple[Any, int]]) -> None:
    given = json.loads(json.dumps(BASES[base]))
    for value, place in changes:
        *way, last = PLACES[base][1 + place % (len(PLACES[base]) - 1)]
        with contextlib.suppress(LookupError, TypeError):  # an earlier change may have taken the place away
            inner = given
            for step in way:
                inner = inner[step]
            inner[last] = value
    assert all(place == "" or place.startswith("/") for place in places(given))


@pytest.mark.parametrize(
    ("given", "pointer", "says"),
    [
        (old({"class_name": ["Dense"], "config": {}}), "/config/0/class_name", "the name of a class"),
        (
            {"class_name": "Sequential", "keras_version": "2.1", "config": {"layers": "Dense"}},
            "/config/layers",
            "array",
        ),
        (old(dense(batch_input_shape=[None, 4]), 7), "/config/1", "layer"),
    ],
)
def test_what_no_keras_writes_is_refused_where_it_stands(given: Any, pointer: str, says: str) -> None:
    place, message = wrong(given)[0]
    assert place == pointer
    assert says in message


@settings(max_examples=200, deadline=2000)
@given(st.text(alphabet="{}[]'\":,()-!&* \nab1eE.#|>%@~", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadSpec):
        reading.read(text)
