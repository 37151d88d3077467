"""Checkpoints of TensorFlow that lie, lead elsewhere, were cut or unpack to too much: one sentence, nothing read."""

import contextlib
import gzip
import io
import json
import tarfile
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from shared.errors import BadData
from worker.training import crc32c, tf_weights
from worker.training.modelfiles.files import ModelFile

KERNEL = "layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
INDEX, DATA = "model.index", "model.data-00000-of-00001"


def model(units=3):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


@pytest.fixture
def data(volume):
    """The data folder, with a sound checkpoint `model` in it."""
    tf_weights.save(model(), volume / "data")
    return volume / "data"


def refuses(volume, name, sentence):
    untouched = model()
    before = untouched.get_weights()
    with pytest.raises(BadData, match=sentence) as refused:
        ModelFile(volume, name, 1 << 20).load_weights(untouched)
    assert "\n" not in refused.value.message
    for one, other in zip(untouched.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


# --- the index ---


def varint(number):
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def block(entries, kind=0):
    """Return a block of a table, with how it is compressed and its checksum."""
    body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    body += bytes(4) + (1).to_bytes(4, "little") + bytes([kind])
    return body + crc32c.masked(body).to_bytes(4, "little")


def table(entries, kind=0):
    """Return an index of one block of entries, in their order."""
    held, about = block(entries, kind), block([])
    handle = varint(0) + varint(len(held) - 5)
    there = block([(b"\xff", handle)])
    footer = varint(len(held)) + varint(len(about) - 5) + varint(len(held + about)) + varint(len(there) - 5)
    return held + about + there + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def entries(data):
    """Return what the sound index says, as messages by name."""
    reader = tf.train.load_checkpoint(str(data / "model"))
    found = {"": tensor_bundle_pb2.BundleHeaderProto(num_shards=1)}
    text = (data / INDEX).read_bytes()
    for name in [*reader.get_variable_to_shape_map()]:
        # The sound index is read by what is under test, whose answers the tests of sound files hold.
        from worker.training.modelfiles import tables

        found[name] = tensor_bundle_pb2.BundleEntryProto.FromString(tables.items(text, "")[name])
    return found


def written(data, found):
    (data / INDEX).write_bytes(table([(name.encode(), one.SerializeToString()) for name, one in sorted(found.items())]))


def test_an_index_that_is_made_anew_is_read(volume, data):
    """So the lies below are told by their lies."""
    written(data, entries(data))
    ModelFile(volume, "model", 1 << 20).load_weights(model())


def absurd(found):
    found[KERNEL].shape.dim[0].size = 1 << 40
    found[KERNEL].size = 4 * 3 << 40


def smaller(found):
    found[KERNEL].size = 8


def behind(found):
    found[KERNEL].offset = 1 << 40


def before(found):
    found[KERNEL].offset = -8


def other_shard(found):
    found[KERNEL].shard_id = 7


def sliced(found):
    found[KERNEL].slices.add()


def negative(found):
    found[KERNEL].shape.dim[0].size = -4


def text(found):
    found[KERNEL].dtype = tf.string.as_datatype_enum


def no_type(found):
    found[KERNEL].dtype = 4711


def many_shards(found):
    found[""].num_shards = 1 << 30


def no_shards(found):
    found[""].num_shards = 0


def big_endian(found):
    found[""].endianness = 1


def no_header(found):
    del found[""]


def no_graph(found):
    del found[GRAPH]


def no_text(found):
    found[GRAPH].dtype = tf.float32.as_datatype_enum


def no_message(found):
    found[GRAPH].offset, found[GRAPH].size = 0, 48


def no_kernel(found):
    del found[KERNEL]


LIES = {
    absurd: "shard 0 was cut: it ends before",
    smaller: r"has 8 bytes, not those of \(4, 3\)",
    behind: "shard 0 was cut",
    before: "shard 0 was cut",
    other_shard: "lies in shard 7; it has 1",
    sliced: "is no whole array",
    negative: "is no whole array",
    text: "holds no plain numbers",
    no_type: "holds no plain numbers",
    many_shards: "says that it has 1073741824 shards",
    no_shards: "says that it has 0 shards",
    big_endian: "another byte order",
    no_header: "says that it has 0 shards",
    no_graph: "does not say which objects were saved",
    no_text: "the graph of its objects is no text",
    no_message: "is broken|graph of its objects is broken|holds no layers in order",
    no_kernel: "has no array 'layer_with_weights-0/kernel",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_an_index_that_lies_is_refused(volume, data, lie):
    found = entries(data)
    lie(found)
    written(data, found)
    refuses(volume, "model", LIES[lie])


def cut(index):
    return index[:-20]


def flipped(index):
    return bytes([index[0] ^ 1]) + index[1:]


def doubled(_index):
    return table([(b"a", b""), (b"a", b"")])


def compressed(_index):
    return table([(b"a", b"")], kind=1)


def long_key(_index):
    return table([(b"a" * 5000, b"")])


def overlong(index):
    """A handle to a block behind the end."""
    return index[:-48] + (varint(0) + varint(0) + varint(1 << 40) + varint(9)).ljust(40, b"\0") + index[-8:]


def endless(index):
    return index[:-48] + b"\xff" * 40 + index[-8:]


def no_letters(_index):
    return table([(b"\xff\xfe", b"")])


BROKEN = {
    cut: "does not end as one",
    flipped: "a checksum is wrong",
    doubled: "its keys are not in order",
    compressed: "it is compressed",
    long_key: "longer than it may be",
    overlong: "it was cut",
    endless: "a number does not end",
    no_letters: "no readable index",
}


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_an_index_that_is_broken_is_refused(volume, data, change):
    (data / INDEX).write_bytes(change((data / INDEX).read_bytes()))
    refuses(volume, "model", BROKEN[change])


def test_any_byte_of_an_index_may_be_wrong(volume, data):
    """No damage ends in anything but a sentence; only what nobody reads may be damaged (what pads the footer)."""
    index = (data / INDEX).read_bytes()
    places = range(0, len(index), 3)
    sound = []
    for at in places:
        (data / INDEX).write_bytes(index[:at] + bytes([index[at] ^ 0x55]) + index[at + 1 :])
        with contextlib.suppress(BadData):
            ModelFile(volume, "model", 1 << 20).check_weights(model())
            sound.append(at)
    assert len(sound) < 20, sound


def test_shards_that_were_cut_and_shapes_of_another_model_are_refused(volume, data):
    with pytest.raises(BadData, match=r"has shape \(4, 3\); the model's '.*kernel' takes shape \(4, 5\)"):
        ModelFile(volume, "model", 1 << 20).load_weights(model(units=5))
    deep = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    with pytest.raises(BadData, match="weights of 1 layers, the model has 2 layers with weights"):
        ModelFile(volume, "model", 1 << 20).load_weights(deep)
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    with pytest.raises(BadData, match=r"holds 'layer_with_weights-0/bias.*for which the model has no place"):
        ModelFile(volume, "model", 1 << 20).load_weights(flat)
    (data / DATA).write_bytes((data / DATA).read_bytes()[:20])
    refuses(volume, "model", "shard 0 was cut")


def test_no_link_is_followed_and_no_path_climbs(volume, data, tmp_path):
    (data / DATA).rename(tmp_path / "shard")
    (data / DATA).symlink_to(tmp_path / "shard")
    refuses(volume, "model", "goes through a link")
    refuses(volume, "../data/model", "must be a relative path")
    refuses(volume, "../data/model.index", "must be a relative path")
    refuses(volume, "none", "There is no file 'none'")


# --- archives ---


def members(data):
    return {f"w/{name}": (data / name).read_bytes() for name in (INDEX, DATA)}


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files, *infos, **options):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in infos:
            archive.addfile(info)
    return file.getvalue()


def link(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def shards(*names):
    """Return a list of weights as Keras 3 writes it."""
    return json.dumps(
        {"weight_map": {f"/layers/dense_{index}/vars": name for index, name in enumerate(names)}}
    ).encode()


def without_shard(files):
    return {name: content for name, content in files.items() if name.endswith("index")}


def endless_header(files):
    """A header of a gigabyte, which is to be read at once."""
    whole = tarred(files)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    return info.tobuf(tarfile.USTAR_FORMAT) + whole


ARCHIVES = {
    "zip without shard": (lambda files: zipped(without_shard(files)), r"holds no 'w/model\.data-00000-of-00001'"),
    "tar without shard": (lambda files: tarred(without_shard(files)), r"holds no 'w/model\.data-00000-of-00001'"),
    "zip bomb": (lambda files: zipped(files | {f"w/{DATA}": bytes(80 << 20)}), "would unpack from"),
    "more than the memory": (lambda files: zipped(files | {f"w/{DATA}": bytes(2 << 20)}), "memory_mb allows 1,048,576"),
    "tar, more than the memory": (
        lambda files: tarred(files | {f"w/{DATA}": bytes(2 << 20)}),
        "memory_mb allows 1,048,576",
    ),
    "gzip bomb": (lambda files: gzip.compress(tarred(files | {"w/x": bytes(80 << 20)})), "unpacks to more than"),
    "gzip of nothing": (lambda _: gzip.compress(b""), "no readable tar archive|holds no '"),
    "gzip that was cut": (lambda files: gzip.compress(tarred(files))[:-50], "no readable tar archive"),
    "gzip of something": (lambda _: gzip.compress(b"abc" * 1000), "no readable tar archive"),
    "climbing zip": (lambda files: zipped(files | {"../x": b""}), "leads out of it"),
    "climbing tar": (lambda files: tarred(files | {"w/../../x": b""}), "leads out of it"),
    "absolute tar": (lambda files: tarred(files | {"/etc/x": b""}), "leads out of it"),
    "twice": (lambda files: tarred(files | {f"./w/{INDEX}": b""}), "twice"),
    "soft link": (
        lambda files: tarred(without_shard(files), link(f"w/{DATA}", tarfile.SYMTYPE)),
        "is a link, or no plain file",
    ),
    "hard link": (lambda files: tarred(without_shard(files), link(f"w/{DATA}", tarfile.LNKTYPE)), "is a link, or no"),
    "device": (lambda files: tarred(files, link("w/x", tarfile.CHRTYPE)), "is a link, or no plain file"),
    "endless header": (endless_header, "a header has 1,073,741,824 bytes"),
    "cut tar": (lambda files: tarred(files)[:1600], "was cut|no readable tar"),
    "two checkpoints": (
        lambda files: zipped(files | {"b.index": b""}),
        "holds 2 checkpoints, 'w/model', 'b': send the files of one",
    ),
    "no checkpoint": (lambda _: tarred({"a.txt": b"x"}), r"nor an index of a TensorFlow checkpoint, but 'a\.txt'"),
    "list without its files": (
        lambda _: zipped({"w/m.weights.json": shards("m_0.weights.h5")}),
        r"holds no 'w/m_0\.weights\.h5'",
    ),
    "list of files elsewhere": (lambda _: tarred({"m.weights.json": shards("../m.weights.h5")}), "names no weights"),
    "list of other files": (lambda _: tarred({"m.weights.json": shards("passwd")}), "names no weights"),
    "list of nothing": (lambda _: zipped({"m.weights.json": b"{}"}), "names no weights"),
    "list that is none": (lambda _: zipped({"m.weights.json": b"{"}), "is no JSON"),
    "list of too many": (
        lambda _: zipped({"m.weights.json": shards(*(f"{one}.weights.h5" for one in range(1001)))}),
        "must name 1 to 1000 files",
    ),
    "file of a list that is none": (
        lambda _: zipped({"m.weights.json": shards("x.weights.h5"), "x.weights.h5": b"x"}),
        "'x.weights.h5', is no readable HDF5 file",
    ),
    "list beside nothing": (lambda _: shards("none.weights.h5"), r"There is no file 'none\.weights\.h5'"),
    "index alone": (lambda files: files[f"w/{INDEX}"], "is no model file"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_is_hostile_or_wrong_is_refused(volume, data, case):
    make, sentence = ARCHIVES[case]
    (data / "archive").write_bytes(make(members(data)))
    refuses(volume, "archive", sentence)


def test_what_a_mac_puts_beside_each_file_is_passed_over(volume, data):
    files = members(data) | {"__MACOSX/w/._model.index": b"x", "w/checkpoint": b"x"}
    (data / "archive.zip").write_bytes(zipped(files))
    ModelFile(volume, "archive.zip", 1 << 20).load_weights(model())
