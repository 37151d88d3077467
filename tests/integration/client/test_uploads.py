"""Content from a client to the volume: once, whole, and going on where it broke off."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

import fitq
from fitq import errors, uploads
from fitq.cli import cli
from shared import store
from shared import uploads as rows

CONTENT = bytes(range(256)) * 4096
REF = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Pipe(io.RawIOBase):
    """What can be read once only."""

    def __init__(self, content):
        self._rest = io.BytesIO(content)

    def read(self, size=-1):
        return self._rest.read(size)

    def seekable(self):
        return False


def stored(volume, ref=REF):
    with store.open_data(volume, ref) as file:
        return file.read()


def test_files_bytes_and_open_files_arrive_once(queue, volume, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK", 300_000)
    (tmp_path / "train.bin").write_bytes(CONTENT)
    heard = []

    assert queue.upload(tmp_path / "train.bin", progress=lambda done, total: heard.append((done, total))) == REF
    assert stored(volume) == CONTENT
    assert heard == sorted(heard)
    assert (len(heard) > 5, heard[-1]) == (True, (len(CONTENT), len(CONTENT)))

    heard.clear()
    assert queue.upload(CONTENT, progress=lambda done, total: heard.append((done, total))) == REF
    assert heard == [(len(CONTENT), len(CONTENT))]
    assert queue.upload(Pipe(CONTENT)) == REF
    opened = io.BytesIO(b"12" + CONTENT)
    opened.seek(2)
    assert queue.upload(opened) == REF
    assert [(one["name"], one["ref"]) for one in queue.uploads()] == [("train.bin", REF)]


def test_two_who_send_the_same_at_once_both_end_well(queue, url, volume, monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK", 100_000)
    content = CONTENT * 8
    with fitq.connect(url) as other, ThreadPoolExecutor(2) as pool:
        refs = list(pool.map(lambda one: one.upload(content), [queue, other]))

    assert refs == [f"sha256:{hashlib.sha256(content).hexdigest()}"] * 2
    assert stored(volume, refs[0]) == content


def test_what_was_cut_off_goes_on_where_it_was(queue, volume, monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK", 300_000)
    sent = []

    def stop(done, total):
        sent.append(done)
        if done > 500_000 and len(sent) == 1 + sum(one < done for one in sent):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.upload(CONTENT, progress=stop)
    there = next(queue.uploads())["offset"]
    assert there >= 300_000

    sent.clear()
    assert queue.upload(CONTENT, progress=lambda done, total: sent.append(done)) == REF
    assert min(sent) > there
    assert stored(volume) == CONTENT


def test_bytes_of_somebody_who_was_wrong_cost_a_second_try(queue, volume, engine):
    sha256 = REF.removeprefix("sha256:")
    rows.begin(engine, volume, sha256=sha256, size=len(CONTENT), name=None)
    rows.append(engine, volume, sha256, offset=0, pieces=[b"wrong"])

    assert queue.upload(CONTENT) == REF
    assert stored(volume) == CONTENT


def test_a_file_that_changes_while_it_is_sent_is_refused(queue, tmp_path):
    path = tmp_path / "changing"
    path.write_bytes(CONTENT)

    with pytest.raises(errors.BadUpload, match="changed while it was uploaded"):
        queue.upload(path, progress=lambda done, total: path.write_bytes(bytes(len(CONTENT))))
    with pytest.raises(errors.BadUpload, match="shorter"):
        queue.upload(path, progress=lambda done, total: path.write_bytes(b""))
    assert [one["complete"] for one in queue.uploads()] in ([], [False])


def test_what_cannot_be_sent_is_said(queue, tmp_path):
    with pytest.raises(errors.BadUpload, match="nowhere: No such file"):
        queue.upload(tmp_path / "nowhere")
    with pytest.raises(errors.BadUpload, match="Is a directory"):
        queue.upload(tmp_path)
    with pytest.raises(errors.BadUpload, match="empty"):
        queue.upload(b"")
    assert list(queue.uploads()) == []


def test_the_command_prints_what_a_spec_names(url, volume, tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    (tmp_path / "b.bin").write_bytes(b"b")
    other = f"sha256:{hashlib.sha256(b'b').hexdigest()}"

    done = CliRunner().invoke(cli, ["upload", str(tmp_path / "a.bin"), str(tmp_path / "b.bin")])
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{REF}\n{other}\n", "")
    done = CliRunner().invoke(cli, ["upload", "-"], input=CONTENT)
    assert (done.exit_code, done.stdout) == (0, f"{REF}\n")
    done = CliRunner().invoke(cli, ["upload", str(tmp_path / "no.bin")])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no.bin: No such file" in done.stderr
    assert stored(volume) == CONTENT
