"""Files that lie, lead elsewhere, carry code or unpack to too much: one sentence each, and nothing is read."""

import json
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest

from shared.errors import BadData, BadSpec
from worker.training.modelfiles.files import ModelFile

KERNEL = "layers/dense/vars/0"


def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def h5(path, change):
    model().save_weights(path)
    with h5py.File(path, "a") as file:
        change(file)


def linked(path):
    def change(file):
        del file[KERNEL]
        file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/x")

    h5(path, change)


def soft(path):
    def change(file):
        del file["layers/dense"]
        file["layers/dense"] = h5py.SoftLink("/layers/input_layer")

    h5(path, change)


def replaced(**arguments):
    def make(path):
        def change(file):
            del file[KERNEL]
            file.create_dataset(KERNEL, **arguments)

        h5(path, change)

    return make


def outside(path):
    replaced(shape=(4, 3), dtype="f4", external=[("/dev/zero", 0, 48)])(path)


def virtual(path):
    def change(file):
        del file[KERNEL]
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
        file.create_virtual_dataset(KERNEL, layout)

    h5(path, change)


def missing(path):
    h5(path, lambda file: file.__delitem__(KERNEL))


def truncated(path):
    model().save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def half_h5(path):
    model().save_weights(path)
    path.write_bytes(path.read_bytes()[:3000])


def pickled(path):
    path.write_bytes(pickle.dumps({"weights": [1]}))


def bomb(path):
    model().save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(80 << 20))


def climbing(path):
    model().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../out", b"x")


def damaged(path):
    model().save(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x89HDF") + 900] ^= 0xFF
    path.write_bytes(data)


def objects(path):
    with path.open("wb") as file:
        np.savez(file, manifest=np.array([{"a": 1}], dtype=object))


WEIGHTS = {
    "external link": (linked, "is a link \\(external\\)"),
    "soft link": (soft, "is a link \\(soft\\)"),
    "external storage": (outside, "lies in another file"),
    "virtual": (virtual, "lies in another file"),
    "wrong shape": (
        replaced(data=np.zeros((5, 3), "f4")),
        r"shape \(5, 3\); kernel of layer 'dense.*' \(Dense\) takes shape \(4, 3\)",
    ),
    "absurd size": (
        replaced(shape=(1 << 40,), dtype="f4", chunks=(1 << 10,), compression="gzip"),
        r"has shape \(1099511627776,\)",
    ),
    "objects": (replaced(data=["a"], dtype=h5py.string_dtype()), "only numbers of up to 64 bits"),
    "compound": (replaced(shape=(4, 3), dtype=[("a", "f4")]), "only numbers of up to 64 bits"),
    "huge chunks": (
        replaced(shape=(4, 3), maxshape=(None, None), chunks=(1 << 14, 1 << 10), dtype="f4"),
        "chunks that are larger than itself",
    ),
    "missing": (missing, "has no array 'layers/dense/vars/0', which is to be kernel of layer"),
    "truncated zip": (truncated, "no readable zip archive"),
    "truncated h5": (half_h5, "no readable HDF5 file"),
    "pickle": (pickled, "is no model file"),
    "bomb": (bomb, "would unpack from"),
    "climbing": (climbing, "leads out of it"),
    "damaged": (damaged, "no readable zip archive: Bad CRC-32"),
    "pickled arrays": (objects, "only numbers are read"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_hostile_file_is_refused_in_one_sentence(volume, case):
    make, sentence = WEIGHTS[case]
    name = "file.weights.h5"
    path = volume / "data" / name
    temporary = path.with_name("f.keras" if make in {truncated, bomb, climbing, damaged} else "f.weights.h5")
    make(temporary)
    temporary.rename(path)
    untouched = model()
    before = untouched.get_weights()
    with pytest.raises(BadData, match=sentence):
        ModelFile(volume, name, 1 << 30).load_weights(untouched)
    for one, other in zip(untouched.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_code_in_an_architecture_is_refused(volume):
    path = volume / "data" / "lambda.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)]).save(path)
    with pytest.raises(BadSpec, match=r"lambda\.keras: the model in it is refused at /config/layers/1.*Lambda"):
        ModelFile(volume, "lambda.keras", 1 << 30).architecture()


def test_an_archive_that_does_not_fit_the_jobs_memory_is_refused(volume):
    model().save(volume / "data" / "model.keras")
    with pytest.raises(BadData, match="memory_mb allows 1,000"):
        ModelFile(volume, "model.keras", 1000).load_weights(model())


def test_weights_alone_are_no_model(volume):
    model().save_weights(volume / "data" / "model.weights.h5")
    with pytest.raises(BadData, match="give it as weights beside the model's layers"):
        ModelFile(volume, "model.weights.h5", 1 << 30).architecture()
    (volume / "data" / "model.json").write_text(model().to_json())
    with pytest.raises(BadData, match=r"an architecture stands in the spec itself, as model\.architecture"):
        ModelFile(volume, "model.json", 1 << 30).architecture()
    with zipfile.ZipFile(volume / "data" / "x.keras", "w") as archive:
        archive.writestr("config.json", json.dumps([1]))
    with pytest.raises(BadData, match="must hold a JSON object"):
        ModelFile(volume, "x.keras", 1 << 30).architecture()
