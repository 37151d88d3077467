"""Data from CSV, Parquet, TFRecord and image files: each trains, is measured, is predicted; bad files are named."""

import io
import struct
import zipfile

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import parquet as pq

from shared.errors import BadData, BadSpec
from shared.spec import TrainSpec, parse
from worker.training import data
from worker.training.samples import Preparation, Streamed
from worker.training.sources import opening
from worker.training.sources.place import Place

LOSS = {"loss": {"SparseCategoricalCrossentropy": {"from_logits": True}}, "metrics": ["accuracy"]}
NAMES = ["left", "right"]


@pytest.fixture
def put(bench):
    def write(name: str, content: bytes | str) -> str:
        path = bench.volume / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


@pytest.fixture
def opened(bench):
    """Open a source and return its rows, read in one go and in pieces."""

    def read(source, *, labels=True, memory_mb=64):
        spec = parse(
            {
                "kind": "train",
                "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [1]},
                "data": {"train": source},
                "compile": {"loss": "mse"},
            }
        )
        assert isinstance(spec, TrainSpec)
        where = Place(bench.volume, None, 1.0, memory_mb << 20)
        return data.load(spec.data.train, where, labels=labels, scale=None, one_hot=None)

    return read


def points(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    y = generator.integers(0, 2, rows)
    return np.stack([generator.normal(size=rows) + 6 * y - 3, generator.normal(size=rows)], axis=1), y


def csv_points() -> str:
    x, y = points()
    rows = [f'{a!r},"{NAMES[k]}",{b!r},{1 + k}' for (a, b), k in zip(x.tolist(), y, strict=True)]
    return "\ufeff" + "\r\n".join(["a,side,b,weight", *rows]) + "\r\n"


def parquet_points(path, **options) -> None:
    x, y = points()
    columns = {"a": x[:, 0], "b": x[:, 1], "side": [NAMES[k] for k in y], "weight": 1.0 + y}
    pq.write_table(pa.table(columns), path, **options)


def example(**features) -> bytes:
    made = {}
    for name, value in features.items():
        if isinstance(value, bytes):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif np.asarray(value).dtype.kind == "f":
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))
        else:
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value)))
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def write_records(path, records) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def picture(color: int, form: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    generator = np.random.default_rng(color)
    pixels = np.clip(generator.normal(color, 20, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def train(source, shape, **changes):
    layers = [{"Flatten": {}}, {"Dense": {"units": 2}}]
    made = {
        "kind": "train",
        "model": {"layers": layers, "input_shape": shape},
        "data": {"train": source, "validation": {"split": 0.25}},
        "compile": {"optimizer": {"Adam": {"learning_rate": 0.1}}, **LOSS},
        "fit": {"epochs": 4},
    }
    return {**made, **changes}


def learn(bench, source, shape, **changes):
    """Train on a source, then evaluate and predict with it; return the train job's result."""
    job = train(source, shape, **changes)
    ended, report = bench.finish(job)
    saved = report.checkpoints[ended.final_checkpoint]
    origin = {
        "job": "job_00000000-0000-7000-8000-000000000002",
        "checkpoint": saved.name,
        "file": vars(saved.file),
        "model": job["model"],
        "compile": job["compile"],
        "scale": job["data"].get("scale"),
        "one_hot": None,
        "class_names": ended.value.get("class_names"),
    }
    model = {"job": origin["job"]}
    test = {"kind": "evaluate", "model": model, "data": {"test": source}}
    measured, _ = bench.finish(test, source=origin, attempt=2)
    assert measured.value["metrics"]["accuracy"] > 0.9
    ask = {"kind": "predict", "model": model, "data": {"input": {**source, "rows": [0, 3]}}, "top_k": 1}
    answered, _ = bench.finish(ask, source=origin, attempt=3)
    assert answered.value["rows"] == 3
    return ended.value, answered.value


def test_a_csv_file_trains(bench, put):
    source = {"csv": put("p.csv", csv_points()), "label": "side", "sample_weight": "weight"}
    value, answer = learn(bench, source, [2])
    assert value["class_names"] == NAMES
    assert answer["top"][0][0]["name"] in NAMES


def test_a_parquet_file_trains(bench, put):
    parquet_points(bench.volume / "data" / put("p.parquet", b""), row_group_size=30)
    source = {"parquet": "p.parquet", "label": "side", "columns": ["b", "a"]}
    value, _ = learn(bench, {**source, "columns": ["a", "b"]}, [2])
    assert value["class_names"] == NAMES


def test_tfrecord_files_train(bench, put):
    x, y = points()
    records = [example(x=row.astype(np.float32), y=int(k)) for row, k in zip(x, y, strict=True)]
    for number, part in enumerate((records[:150], records[150:])):
        write_records(bench.volume / "data" / put(f"p{number}.tfrecord", b""), part)
    features = {"x": {"shape": [2]}, "y": {"dtype": "int64"}}
    learn(bench, {"tfrecord": ["p0.tfrecord", "p1.tfrecord"], "features": features, "label": "y"}, [2])


def image_files() -> dict[str, bytes]:
    forms = ["PNG", "JPEG", "GIF", "BMP"]
    return {
        f"{name}/{number}.{forms[number % 4].lower()}": picture(color, forms[number % 4], (8 + number % 3, 8))
        for name, color in (("dark", 40), ("light", 200))
        for number in range(24)
    }


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_images_trains(bench, put, zipped):
    files = image_files()
    if zipped:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in files.items():
                file.writestr(f"shades/{name}", content)
        source = {"images": put("shades.zip", archive.getvalue()), "image_size": [8, 8]}
    else:
        for name, content in files.items():
            put(f"shades/{name}", content)
        source = {"images": "shades", "image_size": [8, 8]}
    put("shades/.DS_Store", "x")
    job = {
        "data": {"train": source, "validation": {"split": 0.25}, "scale": 1 / 255},
        "fit": {"epochs": 12, "batch_size": 8},
    }
    value, _ = learn(bench, source, [8, 8, 3], **job)
    assert value["class_names"] == ["dark", "light"]


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def all_sorts() -> dict[str, bytes]:
    """Return images of every sort that cameras, scanners and programs write."""
    generator = np.random.default_rng(0)
    smooth = np.linspace(0, 200, 6 * 8).reshape(6, 8, 1) + np.array([0, 20, 50])
    image = Image.fromarray(smooth.astype(np.uint8))
    clear = image.copy()
    clear.putalpha(Image.fromarray(generator.integers(0, 256, (6, 8), np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "gray.png": encoded(image.convert("L"), "PNG"),
        "black_and_white.png": encoded(image.convert("1"), "PNG"),
        "gray_alpha.png": encoded(clear.convert("LA"), "PNG"),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "color.png": encoded(image, "PNG"),
        "alpha.png": encoded(clear, "PNG"),
        "deep.png": encoded(Image.fromarray(generator.integers(0, 65536, (6, 8)).astype(np.uint16)), "PNG"),
        "gray.jpg": encoded(image.convert("L"), "JPEG"),
        "color.jpg": encoded(image, "JPEG"),
        "printed.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "turned.jpg": encoded(image, "JPEG", exif=turned),
        "still.gif": encoded(image, "GIF"),
        "moving.gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)] * 3),
        "color.bmp": encoded(image, "BMP"),
        "gray.bmp": encoded(image.convert("L"), "BMP"),
        "alpha.bmp": encoded(clear, "BMP"),
    }


#: What TensorFlow itself does not turn into gray, or into a color that one sees through.
NOT_GRAY, NOT_ALPHA = {"gif", "bmp", "printed.jpg"}, {"gif", "jpg"}


@pytest.mark.parametrize(("color", "besides"), [("rgb", set()), ("grayscale", NOT_GRAY), ("rgba", NOT_ALPHA)])
def test_images_of_every_sort_are_those_of_keras(bench, put, opened, color, besides):
    files = all_sorts()
    for name, content in files.items():
        theirs_too = not {name, name.rpartition(".")[2]} & besides
        put(f"{'both' if theirs_too else 'ours'}/any/{name}", content)
    theirs = keras.utils.image_dataset_from_directory(
        str(bench.volume / "data" / "both"),
        image_size=(6, 5),
        color_mode=color,
        shuffle=False,
        batch_size=None,
        verbose=False,
    )
    x, y = (np.stack(part) for part in zip(*theirs.as_numpy_iterator(), strict=True))
    ours = opened({"images": "both", "image_size": [6, 5], "color": color})
    assert ours.y.tolist() == y.tolist()
    np.testing.assert_allclose(ours.x, x, atol=1e-3)
    if besides:
        rest = opened({"images": "ours", "image_size": [6, 8], "color": color}).x
        like = opened({"images": "both", "image_size": [6, 8], "color": color}).x
        names = sorted(name for name in files if not {name, name.rpartition(".")[2]} & besides)
        picture = like[names.index("color.png" if color == "grayscale" else "color.bmp")]
        assert len(rest) + len(names) == len(files)
        for one in rest:
            # The same picture, as exactly as its form holds it; nobody sees through it.
            assert np.abs(one - picture)[..., :3].mean() < 24
            assert color == "grayscale" or one[..., 3].min() == 255


@pytest.mark.parametrize("bits", ["1", "P"])
def test_an_image_that_tensorflow_would_take_for_another_is_refused(put, opened, bits):
    colors = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)).convert(bits)
    put("f/a/x.bmp", encoded(colors, "BMP"))
    with pytest.raises(BadData, match=r"f/a/x\.bmp is a BMP image whose pixels stand for colors of a palette"):
        opened({"images": "f", "image_size": [4, 4]})


def test_of_an_animation_no_more_than_the_first_image_is_decoded(put, opened):
    frames = [Image.fromarray(np.full((2000, 2000), n, np.uint8)) for n in (90, 10)]
    small = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    # A thousand times the second image: 4 GB of pixels.
    begin = len(encoded(frames[0], "GIF")) - 1
    put("f/a/x.gif", small[:begin] + small[begin:-1] * 1000 + b";")
    assert opened({"images": "f", "image_size": [2, 2], "color": "grayscale"}).x.tolist() == [[[[90]] * 2] * 2]


def test_nested_lists_images_in_records_and_raw_bytes(bench, put, opened):
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
    nested = pa.array(images.tolist(), pa.list_(pa.list_(pa.uint8(), 3), 2))
    pq.write_table(pa.table({"image": nested, "y": range(5)}), bench.volume / "data" / put("n.parquet", b""))
    np.testing.assert_array_equal(opened({"parquet": "n.parquet", "label": "y"}).x, images)
    ragged = pa.table({"image": images.tolist(), "y": range(5)})
    pq.write_table(ragged, bench.volume / "data" / put("l.parquet", b""))
    np.testing.assert_array_equal(opened({"parquet": "l.parquet", "label": "y"}).x, images)
    encoded = [example(i=picture(90, size=(4, 3)), r=np.float64([n, 2]).tobytes(), y=b"right") for n in range(4)]
    write_records(bench.volume / "data" / put("i.tfrecord", b""), encoded)
    features = {
        "i": {"shape": [3, 4, 3], "dtype": "uint8", "decode": "png"},
        "r": {"shape": [2], "dtype": "float64", "decode": "raw"},
        "y": {"dtype": "string"},
    }
    samples = opened({"tfrecord": "i.tfrecord", "features": features, "label": "y", "class_names": NAMES})
    assert samples.x["i"].shape == (4, 3, 4, 3)
    assert samples.x["r"][:, 0].tolist() == [0, 1, 2, 3]
    assert samples.y.tolist() == [1] * 4


def test_csv_quotes_lines_and_blanks(put, opened):
    text = 'a,"the ""label""",b,note\n\n1.5,"x, z",2,"two\nlines"\n\n" 3 ",w,-4e1,\n5,w,6,"a ""word"""'
    samples = opened({"csv": put("q.csv", text), "label": 'the "label"', "columns": ["a", "b"]})
    assert samples.x.tolist() == [[1.5, 2], [3, -40], [5, 6]]
    assert samples.y.tolist() == [1, 0, 0]
    assert samples.class_names == ("w", "x, z")


def test_rows_read_in_pieces_are_the_rows(bench, put, opened, monkeypatch):
    monkeypatch.setattr("worker.training.sources.lines.BLOCK_BYTES", 500)
    monkeypatch.setattr("worker.training.sources.tfrecord.BLOCK_BYTES", 500)
    monkeypatch.setattr("worker.training.sources.parquet._ROWS", 7)
    x, y = points()
    parquet_points(bench.volume / "data" / put("p.parquet", b""), row_group_size=90)
    records = [example(x=row.astype(np.float32), y=int(k)) for row, k in zip(x, y, strict=True)]
    write_records(bench.volume / "data" / put("p.tfrecord", b""), records)
    features = {"x": {"shape": [2]}, "y": {"dtype": "int64"}}
    put("p.csv", csv_points())
    for source in (
        {"csv": "p.csv", "label": "side", "columns": ["a", "b"]},
        {"parquet": "p.parquet", "label": "side", "columns": ["a", "b"]},
        {"tfrecord": "p.tfrecord", "features": features, "label": "y"},
    ):
        spec = parse(train(source, [2]))
        reader = opening.opened(spec.data.train, Place(bench.volume, None, 1.0, 1 << 26), labels=True)
        streamed = Streamed(reader, Preparation(), 64)
        ranges = [(395, 400), (0, 5), (88, 93), (17, 180), (5, 17)]
        rows = np.concatenate([np.arange(*one) for one in ranges])
        samples = streamed.read(ranges)
        np.testing.assert_array_equal(samples.x, x.astype(np.float32)[rows])
        np.testing.assert_array_equal(samples.y, y[rows])


def test_classes_are_the_folders_and_the_words_unless_named(put, opened):
    for name in ("b/1.png", "a/1.png", "c/1.png"):
        put(f"f/{name}", picture(1))
    source = {"images": "f", "image_size": [2, 2]}
    assert opened(source).class_names == ("a", "b", "c")
    named = opened({**source, "class_names": ["c", "b", "a"]})
    assert (named.class_names, named.y.tolist()) == (("c", "b", "a"), [2, 1, 0])
    with pytest.raises(BadData, match="f/c is named for none of the 2 classes"):
        opened({**source, "class_names": ["a", "b"]})
    table = {"csv": put("w.csv", "x,y\n1,two\n2,one\n"), "label": "y"}
    assert opened(table).class_names == ("one", "two")
    assert opened({**table, "class_names": ["two", "one", "three"]}).y.tolist() == [0, 1]
    with pytest.raises(BadData, match="line 3: the label 'one' is none of the 1 classes"):
        opened({**table, "class_names": ["two"]})


def test_a_check_outlines_every_form_without_reading_its_rows(bench, put):
    x, y = points()
    parquet_points(bench.volume / "data" / put("p.parquet", b""))
    records = [example(x=row.astype(np.float32), y=int(k)) for row, k in zip(x, y, strict=True)]
    write_records(bench.volume / "data" / put("p.tfrecord", b""), records)
    put("p.csv", csv_points())
    for name, content in image_files().items():
        put(f"shades/{name}", content)
    bench.save("p.npz", x=x, y=y)
    bench.save("p.npy", x=x)
    features = {"x": {"shape": [2]}, "y": {"dtype": "int64"}}
    forms = [
        ({"csv": "p.csv", "label": "side", "sample_weight": "weight"}, [2], 400),
        ({"parquet": "p.parquet", "label": "side", "columns": ["a", "b"]}, [2], 400),
        ({"tfrecord": "p.tfrecord", "features": features, "label": "y"}, [2], 400),
        ({"images": "shades", "image_size": [4, 4]}, [4, 4, 3], 48),
        ({"npz": "p.npz", "batches": [[50, 8]]}, [2], 400),
        ({"npy": "p.npy", "labels": "p.npy", "rows": [0, 100]}, [2], 100),
    ]
    for source, shape, rows in forms:
        data = {"train": source, **({} if "batches" in source else {"validation": {"split": 0.25}})}
        checked, _ = bench.finish(train(source, shape, data=data), kind="check")
        kept = rows if "batches" in source else rows * 3 // 4
        assert checked.value["samples"] == kept
        assert checked.value["steps_per_epoch"] == (8 if "batches" in source else -(-kept // 32))
        assert checked.value["input_shape"] == (None, *shape)
        assert checked.value["warnings"] == []
        with pytest.raises(BadSpec, match=r"takes samples of shape \(9\)"):
            bench.run(train(source, [9], data=data), kind="check")


# --- bad files ---


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("a,y\n", "a header and no rows"),
        ("a,a\n1,2\n", "line 1: the header names the column 'a' twice"),
        ("a,z\n1,2\n", "has no column 'y'; it has 'a', 'z'"),
        ("a,y\n1,2\n3,4\n5\n", "line 4: the row has 1 fields, and the header 2"),
        ('a,y\n"1",2\n"\n3",4\nx,4\n', "line 5, column 'a': 'x' is no number"),
        ("a,y\n1,2\n,4\n", "line 3, column 'a': the cell is empty"),
        ("a,y\n1,2\n3,four\n", "line 3, column 'y': the label 'four'"),
        ('a,y\n1,2\n3,"4\n', "line 3: a quote is opened and never closed"),
        ("a,y\r1,2\r", "carriage return stands alone"),
        (b"\xff\xfea\x00,\x00y\x00", "UTF-16"),
        (b"a,y\n1,u\n1,\xe9\n", "line 3: the text is not UTF-8"),
        ("a,y\n" + "1,2\n" * 90_000 + "1\n" + "1,2\n" * 90_000, "line 90002: the row has 1 fields, and the header 2"),
        (b"a,y\n" + b"1" * (1 << 25), "line 2: the row is longer than 16 MB"),
    ],
)
def test_bad_csv_files_are_named_with_the_line(put, opened, content, sentence):
    with pytest.raises(BadData, match=sentence):
        opened({"csv": put("bad.csv", content), "label": "y"})


def parquet_of(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no readable Parquet"),
        (b"PAR1" + bytes(40) + struct.pack("<I", 1 << 31) + b"PAR1", "no readable Parquet"),
        (parquet_of(a=[1.0], y=[1])[:-30], "no readable Parquet"),
        (parquet_of(a=pa.array([], pa.float64()), y=pa.array([], pa.int64())), "has no rows"),
        (parquet_of(a=[1.0, None], y=[0, 1]), "row 1, column 'a': the value is missing"),
        (parquet_of(a=[[1.0, 2.0], [3.0]], y=[0, 1]), "row 1, column 'a': the list has 1 values; the first has 2"),
        (parquet_of(a=["x"], y=[0]), "column 'a' holds string, not numbers"),
        (parquet_of(a=[[1.0]], b=[1.0], y=[0]), "name one column of lists"),
        (parquet_of(a=[1.0]), "no column 'y'"),
    ],
)
def test_bad_parquet_files_are_refused(put, opened, content, sentence):
    with pytest.raises(BadData, match=sentence):
        opened({"parquet": put("bad.parquet", content), "label": "y"})


def records_of(path, *records) -> bytes:
    write_records(path, records)
    return path.read_bytes()


def test_bad_tfrecord_files_are_named_with_record_and_byte(bench, put, opened, tmp_path):
    good = example(x=np.float32([1, 2]), y=1)
    whole = records_of(tmp_path / "w", good, good, good)
    size = len(whole) // 3
    flipped = bytearray(whole)
    flipped[size + 20] ^= 1
    cases = [
        (b"", "holds no records"),
        (b"no records at all, but some text", "no TFRecord file, or damaged, at byte 0"),
        (whole[:-5], f"cut short in record 2, at byte {2 * size}"),
        (bytes(flipped), f"damaged in record 1, at byte {size}"),
        (b"\x1f\x8b" + whole, "compressed"),
        (records_of(tmp_path / "a", good, b"\xff\xff"), "record 1 is no tf.train.Example"),
        (records_of(tmp_path / "b", good, example(x=np.float32([1, 2]))), "record 1 has no feature 'y'; it has 'x'"),
        (
            records_of(tmp_path / "c", example(x=np.float32([1]), y=1)),
            r"'x' holds 1 values; the feature spec says shape \(2,\)",
        ),
        (records_of(tmp_path / "d", example(x=[1, 2], y=1)), "holds int64; the feature spec says float"),
    ]
    features = {"x": {"shape": [2]}, "y": {"dtype": "int64"}}
    for content, sentence in cases:
        with pytest.raises(BadData, match=sentence):
            opened({"tfrecord": put("bad.tfrecord", content), "features": features, "label": "y"})


def zip_of(**files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(40)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK", "neither a folder nor a readable .zip"),
        (zip_of(), "holds no images"),
        (zip_of(**{"a__x.png": b"no image"}), "a/x.png is no JPEG, PNG, GIF or BMP image"),
        (zip_of(**{"a__x.png": picture(9)[:60]}), "a/x.png is a damaged PNG"),
        (zip_of(**{"a__x.png": png_of(1 << 20, 1 << 20)}), "1048576 by 1048576 pixels"),
        (zip_of(**{"a__x.txt": b""}), "x.txt is no image by its name"),
        (zip_of(**{"x.png": picture(9)}), "x.png lies in no folder of a class"),
        (zip_of(**{"..__x.png": picture(9)}), "leads out of it"),
        (zip_of(**{"a__b.png": picture(1), "c__d__e.png": picture(1)}), "directly in the folder of their class"),
        (zip_of(**{"a__x.png": bytes(1 << 27)}), "too large for an image"),
    ],
)
def test_bad_archives_of_images_are_refused(put, opened, content, sentence):
    with pytest.raises(BadData, match=sentence):
        opened({"images": put("bad.zip", content), "image_size": [4, 4]})


def test_a_folder_of_images_follows_no_link(bench, put, opened):
    put("f/a/x.png", picture(1))
    (bench.volume / "data" / "f" / "b").symlink_to("a")
    with pytest.raises(BadData, match="f/b is a link"):
        opened({"images": "f", "image_size": [4, 4]})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"csv": "a.csv", "label": "y", "columns": ["y"]}, "is one of columns, too"),
        ({"tfrecord": "a", "features": {"y": {}}, "label": "y"}, "names no input"),
        ({"tfrecord": "a", "features": {"x": {"dtype": "uint8"}}}, '"decode": "raw"'),
        ({"images": "a", "image_size": [4, 100_000]}, "/data/train/image_size"),
    ],
)
def test_sources_that_cannot_be_meant_are_refused_at_the_door(source, sentence):
    with pytest.raises(BadSpec) as refused:
        parse(train(source, [2]))
    assert any(sentence in f"{one.pointer}: {one.message}" for one in refused.value.fields)
