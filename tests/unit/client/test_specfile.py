import pytest

from fitq import specfile
from fitq.errors import BadSpecFile


def test_json():
    assert specfile.read("job.json", '\ufeff{"fit": {"epochs": 3}}') == {"fit": {"epochs": 3}}


def test_yaml_has_the_types_of_json():
    spec = """
    kind: train
    compile: {optimizer: {Adam: {learning_rate: 1e-3}}, loss: mse}
    when: 2026-01-01
    answer: no
    time: 1:30
    zip: 0123
    shuffle: true
    nothing: ~
    rows: [0, 10]
    scale: .5
    """
    assert specfile.read("job.yaml", spec) == {
        "kind": "train",
        "compile": {"optimizer": {"Adam": {"learning_rate": 0.001}}, "loss": "mse"},
        "when": "2026-01-01",
        "answer": "no",
        "time": "1:30",
        "zip": "0123",
        "shuffle": True,
        "nothing": None,
        "rows": [0, 10],
        "scale": 0.5,
    }


def test_yaml_anchors_and_merges():
    spec = "base: &b {units: 3}\nlayer: {<<: *b, units: 4}\nother: *b\n"
    assert specfile.read("a.yml", spec) == {"base": {"units": 3}, "layer": {"units": 4}, "other": {"units": 3}}


def test_a_file_without_an_ending_is_told_by_its_first_character():
    assert specfile.read("<stdin>", ' {"a": 1}') == {"a": 1}
    assert specfile.read("<stdin>", "a: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"a": 1,\n "b": }', "a.json:2:7: this is no JSON"),
        ("a.json", '{"a": 1, "a": 2}', "'a' stands twice"),
        ("a.json", '{"a": NaN}', "NaN is no number"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.json", "[]", "a job is an object, but this is a list"),
        ("a.yaml", "", "but this is nothing"),
        ("a.yaml", "just words", "but this is a text"),
        ("a.yaml", "a: 1\nb: [1,\nc: 2", "a.yaml:3:5: this is no YAML"),
        ("a.yaml", "a: 1\nb: 2\na: 3", "a.yaml:3:1: this is no YAML: 'a' stands twice"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]", "a.yaml:1:4: this is no YAML"),
        ("a.yaml", "a: !!timestamp 2026-01-01", "cannot be said in JSON"),
        ("a.yaml", "a: !!float .nan", "cannot be said in JSON"),
        ("a.yaml", "a: &x [*x]", "no"),
        ("a.yaml", "a: *nowhere", "a.yaml:1:4"),
        ("a.yaml", "a: \x00", "no YAML"),
        ("a.yaml", "? [1]\n: 2", "no"),
        ("a.yaml", "? {a: 1}\n: 2", "no"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(name, content, said):
    with pytest.raises(BadSpecFile) as caught:
        specfile.read(name, content)
    assert said in str(caught.value)
    assert str(caught.value).startswith(name)


def test_tags():
    assert specfile.tag("team=vision") == ("team", "vision")
    assert specfile.tag("a=b=c") == ("a", "b=c")
    assert specfile.tag("empty=") == ("empty", "")
    for wrong in ("team", "=vision"):
        with pytest.raises(ValueError, match="is no tag"):
            specfile.tag(wrong)
