"""Files of the volume: whole or not there, and never outside."""

import hashlib
import os

import pytest

from shared import store
from shared.errors import BadData, CheckpointCorrupt


def test_a_file_is_written_whole_and_described(tmp_path):
    with store.writing(tmp_path, "jobs/a/1/file") as file:
        file.write(b"abc")

    described = store.describe(tmp_path, "jobs/a/1/file")
    assert (described.bytes, described.sha256[:8]) == (3, "ba7816bf")
    assert store.verify(tmp_path, described) == tmp_path / "jobs/a/1/file"


def test_an_error_while_writing_leaves_what_was_there_before(tmp_path):
    with store.writing(tmp_path, "file") as file:
        file.write(b"old")
    with pytest.raises(ZeroDivisionError), store.writing(tmp_path, "file") as file:
        file.write(b"half of the ne" * (1 // 0))

    assert (tmp_path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_nothing_is_written_through_a_link(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (tmp_path / "file").symlink_to(secret)
    with store.writing(tmp_path, "file") as file:
        names = [path.name for path in tmp_path.iterdir()]
        file.write(b"abc")

    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "file").is_symlink()
    with store.writing(tmp_path, "file") as file:
        assert not set(names) & {path.name for path in tmp_path.glob(".*.tmp")}, "nobody can guess the name"


@pytest.mark.parametrize("damage", [b"", b"ab", b"abd", b"abcd", None])
def test_a_file_that_is_not_what_its_row_says_is_corrupt(tmp_path, damage):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    row = store.describe(tmp_path, "file")
    path.unlink() if damage is None else path.write_bytes(damage)

    with pytest.raises(CheckpointCorrupt, match="file"):
        store.verify(tmp_path, row)


@pytest.fixture
def volume(tmp_path):
    """A volume with one data file, and a secret beside it."""
    (tmp_path / "volume" / "data" / "sub").mkdir(parents=True)
    (tmp_path / "volume" / "data" / "sub" / "x.npy").write_bytes(b"data")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "volume"


def test_a_data_file_is_opened(volume):
    with store.open_data(volume, "sub/x.npy") as file:
        assert file.read() == b"data"


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "sub/../../../secret", "", ".", "sub//x.npy", "sub/./x.npy", "a\0b", "sub\\x"]
)
def test_a_path_that_climbs_out_is_refused(volume, path):
    with pytest.raises(BadData, match="relative path"):
        store.open_data(volume, path)


def test_no_link_is_followed_neither_at_the_end_nor_on_the_way(volume):
    (volume / "data" / "file").symlink_to(volume.parent / "secret")
    (volume / "data" / "folder").symlink_to(volume.parent)
    (volume / "data" / "inside").symlink_to("sub")

    for path in ("file", "folder/secret", "inside/x.npy"):
        with pytest.raises(BadData, match="through a link"):
            store.open_data(volume, path)


def test_what_is_no_regular_file_is_refused(volume):
    os.mkfifo(volume / "data" / "pipe")

    with pytest.raises(BadData, match="regular file"):
        store.open_data(volume, "pipe")
    with pytest.raises(BadData, match="no file 'nowhere'"):
        store.open_data(volume, "nowhere")
    with pytest.raises(BadData, match="regular file"):
        store.open_data(volume, "sub")


def test_a_file_that_cannot_be_read_is_trouble_and_not_corrupt(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    row = store.describe(tmp_path, "file")
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError, match="directory"):
        store.verify(tmp_path, row)


def test_an_empty_mount_point_is_no_volume(tmp_path):
    assert not store.is_there(tmp_path)
    store.prepare(tmp_path)
    assert store.is_there(tmp_path)


def test_an_upload_is_opened_by_its_name_alone(volume):
    name = hashlib.sha256(b"data").hexdigest()
    path = volume / store.upload_path(name)
    path.parent.mkdir(parents=True)
    for file in ("sha256:", f"sha256:{name.upper()}", f"sha256:{name}/../x", "sha256:../../../secret"):
        with pytest.raises(BadData, match="64 digits"):
            store.open_data(volume, file)
    with pytest.raises(BadData, match="no complete upload"):
        store.open_data(volume, f"sha256:{name}")
    path.symlink_to(volume.parent / "secret")
    with pytest.raises(BadData, match="cannot be opened"):
        store.open_data(volume, f"sha256:{name}")
    path.unlink()
    path.write_bytes(b"data")

    for _ in range(2):
        with store.open_data(volume, f"sha256:{name}") as file:
            assert file.read() == b"data"


def test_a_folder_is_there_only_for_who_takes_one(volume):
    store.check_data(volume, "sub/x.npy")
    store.check_data(volume, "sub", folder=True)
    with pytest.raises(BadData, match="not a regular file"):
        store.check_data(volume, "sub")


def test_what_the_names_of_a_checkpoints_files_begin_with_does_for_who_takes_it(volume):
    (volume / "data" / "sub" / "model.index").write_bytes(b"x")
    store.check_data(volume, "sub/model", prefix=True)
    assert store.prefix_of(volume, "sub/model") == store.prefix_of(volume, "sub/model.index") == "sub/model"
    assert store.prefix_of(volume, "sub/x.npy") is None
    for path in ("sub/model", "sub/mod"):
        with pytest.raises(BadData, match="There is no file"):
            store.check_data(volume, path, prefix=path == "sub/mod")
    for path in ("../data/sub/model", "../data/sub/model.index"):
        with pytest.raises(BadData, match="must be a relative path"):
            store.check_data(volume, path, prefix=True)
