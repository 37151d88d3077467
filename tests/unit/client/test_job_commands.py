"""Jobs from flags, and from files that flags override."""

import json
from zipfile import ZipFile

import numpy as np
import pytest
from click.testing import CliRunner

from fitq import localfiles, specfile
from fitq.cli import cli
from fitq.commands import flags
from fitq.errors import BadSpecFile, FieldProblem, Invalid
from fitq.localfiles import LocalFiles
from shared import spec as specs

SHA = "sha256:" + "a" * 64
MODEL = {"layers": ["Flatten", {"Dense": {"units": 10}}], "input_shape": [8, 8]}


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.yaml").write_text(json.dumps(MODEL["layers"]))
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    (tmp_path / "old.json").write_text('{"class_name": "Sequential", "config": []}')
    (tmp_path / "old.yaml").write_text("class_name: Sequential\nshape: !!python/tuple [null, 32]\n")

    def run(*args, **kwargs):
        return CliRunner().invoke(cli, [str(arg) for arg in args], **kwargs)

    return run


def said(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["spec"]


FROM_FLAGS = """
train --model layers.yaml --input-shape 8,8 --data digits --rows 0:100 --validation-data digits:test --scale 0.0625
--optimizer adam --learning-rate 0.01 --metric accuracy --epochs 3 --batch-size 16 --no-shuffle --seed 7 --name n
--lane cpu --memory-mb 700 --tag a=1 --set fit.on_nan=continue --set checkpoint.keep_last=1 -o json
"""


def test_flags_make_a_job_that_the_server_would_take(run):
    loss = "{SparseCategoricalCrossentropy: {from_logits: true}}"
    callbacks = ["--callback", "{EarlyStopping: {patience: 2}}", "--callback", "TerminateOnNaN"]
    spec = said(run(*FROM_FLAGS.split(), "--loss", loss, *callbacks))

    assert spec == {
        "kind": "train",
        "name": "n",
        "seed": 7,
        "model": MODEL,
        "data": {
            "train": {"dataset": "digits", "rows": [0, 100]},
            "validation": {"dataset": "digits", "split": "test"},
            "scale": 0.0625,
            "shuffle": False,
        },
        "compile": {
            "optimizer": {"adam": {"learning_rate": 0.01}},
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        "fit": {"epochs": 3, "batch_size": 16, "on_nan": "continue"},
        "callbacks": [{"EarlyStopping": {"patience": 2}}, "TerminateOnNaN"],
        "checkpoint": {"keep_last": 1},
        "resources": {"lane": "cpu", "memory_mb": 700},
        "tags": {"a": "1"},
    }
    assert specs.parse(spec).kind == "train"


def test_flags_override_a_file(run, tmp_path):
    run("init", "-o", "job.yaml")
    written = specfile.load("job.yaml")
    done = run("train", "job.yaml", "--epochs", 2, "--validation-split", 0.25, "--tag", "a=1", "-o", "json")
    spec = said(done)

    assert spec["fit"] == {"epochs": 2, "batch_size": 32}
    assert spec["data"]["validation"] == {"split": 0.25}
    assert {key for key in written if spec[key] != written[key]} == {"fit", "data", "tags"}
    wrong = run("predict", "-f", "job.yaml")
    assert (wrong.exit_code, wrong.stderr) == (
        1,
        "Error: job.yaml: this is a job of kind 'train'; `fitq predict` takes those of kind 'predict'.\n",
    )


@pytest.mark.parametrize(
    ("args", "model"),
    [
        (["--model", "model.json"], MODEL),
        (["--model", "old.json"], {"architecture": '{"class_name": "Sequential", "config": []}'}),
        (["--model", "old.yaml"], {"architecture": "class_name: Sequential\nshape: !!python/tuple [null, 32]\n"}),
        (["--model", SHA, "--weights", "w.h5"], {"upload": SHA, "weights": "w.h5"}),
        (["--model", "on-the-server.keras"], {"upload": "on-the-server.keras"}),
    ],
)
def test_a_model_is_told_by_its_file(run, args, model):
    assert said(run("train", *args, "--data", "digits", "-o", "json"))["model"] == model


def test_an_architecture_of_megabytes_is_sent_without_its_indentation(run, tmp_path):
    (tmp_path / "large.json").write_text('{"class_name": "Sequential",' + " " * 1_500_000 + '"config": []}')
    (tmp_path / "twice.json").write_text('{"class_name": "A",' + " " * 600_000 + '"class_name": "B", "config": []}')

    done = run("train", "--model", "large.json", "--data", "digits", "-o", "json")
    assert said(done)["model"] == {"architecture": '{"class_name":"Sequential","config":[]}'}
    # Which of two is meant, the server asks.
    asked = said(run("train", "--model", "twice.json", "--data", "digits", "-o", "json"))
    assert asked["model"] == {"architecture": (tmp_path / "twice.json").read_text()}


def test_a_model_of_a_job_may_be_named_shortly(run, server):
    job_id = server.add(1)
    done = run("train", "--model", job_id[-8:], "--checkpoint", "3", "--data", "digits", "-o", "json")

    assert said(done)["model"] == {"job": job_id, "checkpoint": 3}


@pytest.mark.parametrize(
    ("args", "source"),
    [
        (["fashion_mnist"], {"dataset": "fashion_mnist"}),
        (["digits:test"], {"dataset": "digits", "split": "test"}),
        (["a/b.npz", "--x", "xs", "--y", "ys"], {"npz": "a/b.npz", "x": "xs", "y": "ys"}),
        (["a.npy", "--labels", "b.npy", "--rows", "0:9"], {"npy": "a.npy", "labels": "b.npy", "rows": [0, 9]}),
        (["t.csv", "--label", "y", "--columns", "a,b"], {"csv": "t.csv", "label": "y", "columns": ["a", "b"]}),
        (["parquet=t.dat", "--label", "y"], {"parquet": "t.dat", "label": "y"}),
        ([f"npz={SHA}"], {"npz": SHA}),
        (["pictures.zip", "--image-size", "8,8"], {"images": "pictures.zip", "image_size": [8, 8]}),
        (
            ["d.tfrecord", "--features", "{x: {shape: [2]}}"],
            {"tfrecord": "d.tfrecord", "features": {"x": {"shape": [2]}}},
        ),
    ],
)
def test_data_is_told_by_its_name(run, args, source):
    done = run("train", "--model", "model.json", "--data", *args, "-o", "json")

    assert said(done)["data"]["train"] == source
    text = args[0].partition("=")[2] or args[0]
    if "dataset" not in source and not text.startswith("sha256:"):
        assert f"'{text}' is no file here: it is taken for one below the server's data folder." in done.stderr


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--data", "file:none.npz"], "--data: there is no file 'none.npz' on this machine."),
        (["--data", "notes.docx"], "--data: 'notes.docx' is no data set's name"),
        (["--data", "digits", "--label", "y"], "--data: --label says nothing of a data set by name."),
        (["--data", "x.npy", "--labels", "file:y.npy"], "--labels: there is no file 'y.npy' on this machine."),
        (["--rows", "9:3"], "--rows': '9:3' is no range of rows"),
        (["--model", "layers.yaml"], "--model: 'layers.yaml' is a list of layers: --input-shape must say"),
        (["--model", "none.json"], "--model: there is no file 'none.json' on this machine."),
        (["--model", "not-utf8.json"], "--model: 'not-utf8.json' is no text: byte 0 is not UTF-8."),
        (["--input-shape", "8,x"], "'8,x' is no list of whole numbers"),
        (["--loss", "{a: [}"], "this is no YAML"),
        (["--epochs", "many"], "--epochs': 'many' is not a valid integer"),
        (["--set", "fit.epochs"], "--set: 'fit.epochs' sets nothing; fit.epochs=3 does."),
        (["--validation-data", "digits", "--validation-split", "0.1"], "two ways to say one thing"),
        (["--optimizer", "{SGD: {}}", "--learning-rate", "1"], "--learning-rate: give it in --optimizer"),
        (["--epoch", "3"], "No such option '--epoch'"),
        (["--check", "--watch"], "--check queues nothing"),
    ],
)
def test_wrong_flags_are_named(run, tmp_path, args, sentence):
    (tmp_path / "not-utf8.json").write_bytes(b"\xff\xfe{}")
    done = run("train", *args)

    assert done.exit_code == 2, done.output
    assert sentence in done.stderr


def test_what_the_server_refuses_is_told_by_the_flags_that_said_it():
    fields = (FieldProblem("/fit/epochs", "must be 1"), FieldProblem("/data/train/npz", "is not there"))
    given = [flags.Flag("--epochs", ("fit", "epochs"), ""), flags.Flag("--data", ("data", "train"), "")]
    error = flags.placed(Invalid("The spec is wrong.", status=422, fields=fields), given)

    assert str(error) == "The job is wrong: --epochs (/fit/epochs): must be 1 (and 1 more)"
    assert [field.pointer for field in error.fields] == ["--epochs (/fit/epochs)", "--data (/data/train/npz)"]
    unknown = Invalid("No.", fields=(FieldProblem("/model", "is wrong"),))
    assert flags.placed(unknown, given) is unknown


# --- evaluate and predict ---


def test_evaluate_waits_and_prints_the_metrics(run, server):
    source, answered = server.add(1), {"loss": 0.25}
    server.answer_when_waited = {"value": {"rows": 5, "metrics": answered}, "weights_sha256": None}
    done = run("evaluate", source, "--data", "digits:test", "--batch-size", 5, "--steps", 2, "--loss", "mse")

    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.stdout.splitlines()] == [["rows", "5"], ["metrics.loss", "0.2500"]]
    (job,) = [one for one in server.jobs.values() if one["id"] != source]
    assert job["spec"] == {
        "kind": "evaluate",
        "model": {"job": source},
        "data": {"test": {"dataset": "digits", "split": "test"}},
        "compile": {"loss": "mse"},
        "batch_size": 5,
        "steps": 2,
    }


def test_predict_answers_one_sample_in_one_request(run, server):
    source = server.add(1)
    top = [[{"class": 3, "name": "three", "probability": 0.5}]]
    server.answer_when_waited = {"value": {"rows": 1, "top": top}, "weights_sha256": None}
    server.requests.clear()
    done = run("predict", source, "--sample", "[[1, 2]]", "--top-k", 1, "--head", "softmax", "--class-names", "a, b")

    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.stdout.splitlines()] == [["ROW", "1."], ["0", "three", "(0.5000)"]]
    assert [method for method, *_ in server.requests] == ["GET", "POST"]  # the id is looked up
    (job,) = [one for one in server.jobs.values() if one["id"] != source]
    assert job["spec"]["data"] == {"input": {"sample": [[1, 2]]}}
    assert job["spec"]["resources"] == {"lane": "interactive"}
    assert job["spec"]["class_names"] == ["a", "b"]


def test_predictions_go_to_a_file(run, server, tmp_path):
    source = server.add(1)
    server.files["predictions.parquet"] = b"PAR1"
    server.answer_when_waited = {"value": {"rows": 1}, "weights_sha256": None}
    done = run("predict", source, "--data", "x.npy", "-o", "out.parquet")

    assert done.exit_code == 0, done.output
    assert done.stdout == "out.parquet\n"
    assert (tmp_path / "out.parquet").read_bytes() == b"PAR1"
    (job,) = [one for one in server.jobs.values() if one["id"] != source]
    assert job["spec"]["save"] == "parquet"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["-o", "out.txt"], "'out.txt' is neither table nor json, nor ends in .npz or .parquet."),
        (["-o", "out.npz", "--save", "parquet"], "do not go together"),
        (["-o", "none/out.npz"], "there is no folder 'none'"),
        (["--sample", "3"], "--sample: this is no JSON list of numbers"),
        (["--sample", "[1]", "--data", "digits"], "two ways to say one thing"),
        (["--top-k", "0"], "--top-k"),
    ],
)
def test_wrong_flags_of_predict_are_named(run, server, args, sentence):
    done = run("predict", server.add(1), *args)

    assert done.exit_code == 2, done.output
    assert sentence in done.stderr


# --- init ---


@pytest.mark.parametrize("kind", ["train", "evaluate", "predict"])
def test_init_writes_a_job_that_is_right(run, server, kind):
    source = {"dataset": "fashion_mnist", "rows": [0, 100]}
    server.add(7, state="succeeded", spec={"kind": "train", "data": {"train": source}})
    done = run("init", kind, "-o", "job.yaml")

    assert done.exit_code == 0, done.output
    spec = specs.parse(specfile.load("job.yaml"))
    assert spec.kind == kind
    if kind != "train":
        assert spec.model.job in server.jobs
        assert next(iter(spec.data))[1] is None or "fashion_mnist" in str(spec.data)
    again = run("init", kind, "-o", "job.yaml")
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        1,
        "Error: job.yaml is there already; --force replaces it.",
    )
    assert run("init", kind, "-o", "job.yaml", "--force").exit_code == 0


def test_init_without_a_trained_job_says_what_is_missing(run):
    done = run("init", "predict")

    assert done.exit_code == 0
    assert "job: JOB_ID" in done.stdout
    assert "put one's id where JOB_ID stands" in done.stderr


# --- local files ---


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "model.yaml").write_text("class_name: Sequential\n")
    for name in ("cat/b.png", "cat/a.png", "dog/c.png", "dog/.hidden"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(name.encode())
    return tmp_path


def test_local_files_are_replaced_by_uploads_each_once(folder):
    uploaded = []

    def upload(path):
        uploaded.append((path.name, ZipFile(path).namelist() if path.suffix == ".zip" else None))
        return f"sha256:{len(uploaded)}"

    spec = {
        "kind": "train",
        "name": "file:x.npy",
        "model": {"architecture": "file:model.yaml", "weights": "file:x.npy"},
        "data": {
            "train": {"npy": {"a": "file:x.npy", "b": "on/the/server.npy"}, "labels": f"file:{folder}/x.npy"},
            "validation": {"images": "file:photos", "image_size": [8, 8]},
            "scale": 2,
        },
    }
    assert LocalFiles(folder, upload).sent(spec) == {
        "kind": "train",
        "name": "file:x.npy",
        "model": {"architecture": "class_name: Sequential\n", "weights": "sha256:1"},
        "data": {
            "train": {"npy": {"a": "sha256:1", "b": "on/the/server.npy"}, "labels": "sha256:1"},
            "validation": {"images": "sha256:2", "image_size": [8, 8]},
            "scale": 2,
        },
    }
    assert uploaded == [("x.npy", None), ("photos.zip", ["cat/a.png", "cat/b.png", "dog/c.png"])]
    photos = folder / "photos"
    first, second = (
        localfiles.zipped(photos, photos.rglob("*"), folder / name).read_bytes() for name in ("1.zip", "2.zip")
    )
    assert first == second


@pytest.mark.parametrize("said", ["weights/model", "weights/model.index"])
def test_the_files_of_a_tensorflow_checkpoint_are_sent_as_one(folder, said):
    names = ["model.data-00000-of-00002", "model.data-00001-of-00002", "model.index"]
    (folder / "weights").mkdir()
    for name in [*names, "model2.index", "checkpoint"]:
        (folder / "weights" / name).write_bytes(b"x")

    def upload(path):
        assert (path.name, ZipFile(path).namelist()) == ("model.zip", names)
        return "sha256:1"

    assert LocalFiles(folder, upload).sent({"model": {"weights": f"file:{said}"}}) == {"model": {"weights": "sha256:1"}}
    with pytest.raises(BadSpecFile, match="/model/upload: there is no file 'weights/model' on this machine"):
        LocalFiles(folder, upload).sent({"model": {"upload": "file:weights/model"}})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"npy": "file:none.npy"}, "job.yaml: /data/train/npy: there is no file 'none.npy' on this machine."),
        ({"npz": "file:photos"}, "is a folder; only images may be one."),
        ({"tfrecord": ["file:x.npy", "file:b"]}, "job.yaml: /data/train/tfrecord/1: there is no file 'b'"),
    ],
)
def test_a_local_file_that_cannot_be_sent_is_named_with_its_place(folder, source, sentence):
    with pytest.raises(BadSpecFile, match=sentence):
        LocalFiles(folder, lambda path: SHA, "job.yaml").sent({"data": {"train": source}})
