"""Disks without room, and files that are damaged, deleted or of another version: what was saved before is not lost."""

import errno
import json
import os
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from shared import store
from tests.integration.faults.mounts import full, in_own_mounts, remount, small_disk
from worker.wire import Checkpointed


@pytest.fixture
def spec(train):
    return train(fit={"epochs": 3})


def same(undisturbed, again, since):
    assert again[0].weights_sha256 == undisturbed[0].weights_sha256
    assert again[1].epochs == {epoch: row for epoch, row in undisturbed[1].epochs.items() if epoch >= since}


def a_disk_is_full(folder, trouble):
    """Leave room for half a checkpoint."""
    trouble.enter_context(full(folder))
    os.truncate(folder / "ballast", (folder / "ballast").stat().st_size - 16_384)


def a_disk_is_read_only(folder, trouble):
    remount(folder, "ro")
    trouble.callback(remount, folder, "rw")


@pytest.mark.parametrize(
    ("begins", "number"),
    [(a_disk_is_full, errno.ENOSPC), (a_disk_is_read_only, errno.EROFS)],
    ids=["full", "read-only"],
)
def test_a_volume_that_takes_no_more_keeps_the_checkpoint_before(
    bench, recorder, resumable, spec, tmp_path, begins, number
):
    undisturbed = bench.finish(spec)

    def test():
        disk = type(bench)(small_disk(tmp_path / "disk", "260m"))
        with ExitStack() as trouble:
            report = _Troubled(recorder(), lambda: begins(disk.volume, trouble))
            with pytest.raises(OSError, match=os.strerror(number)) as raised:
                disk.run(spec, report)
            assert raised.value.errno == number
            (saved,) = report.checkpoints.values()
            store.verify(disk.volume, saved.file)
            assert [path.name for path in (disk.volume / saved.file.path).parent.iterdir()] == ["epoch-0.npz"]
        same(undisturbed, disk.finish(spec, attempt=2, checkpoints=resumable(saved)), since=1)

    in_own_mounts(test)


class _Troubled:
    """A recorder behind whose first checkpoint trouble begins."""

    def __init__(self, recorder, begin):
        self._recorder = recorder
        self._begin = begin

    def say(self, message):
        self._recorder.say(message)
        if isinstance(message, Checkpointed):
            self._begin()

    def __getattr__(self, name):
        return getattr(self._recorder, name)


def flip(path, _):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 64
    path.write_bytes(content)


def zero(path, _):
    path.write_bytes(bytes(path.stat().st_size))


def empty(path, _):
    path.write_bytes(b"")


def swap(path, other):
    """Let two checkpoints of the same size change places."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def link(path, _):
    """Put a link to another file in the place of the checkpoint."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(b"not a checkpoint")
    path.unlink()
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("damage", [flip, zero, empty, swap, link])
def test_what_is_not_what_its_row_says_is_passed_over_with_the_reason(bench, resumable, spec, damage):
    undisturbed = bench.finish(spec)
    oldest, older, newer = list(undisturbed[1].checkpoints.values())[:3]
    damage(bench.volume / newer.file.path, bench.volume / older.file.path)
    again = bench.finish(spec, attempt=2, checkpoints=resumable(oldest, older, newer))

    passed_over = again[1].resumed.skipped
    assert [sentence.split(" ")[0] for sentence in passed_over] == ["epoch-2", *(["epoch-1"] if damage is swap else [])]
    assert all("not as recorded" in sentence for sentence in passed_over)
    same(undisturbed, again, since=1 if damage is swap else 2)


def test_an_attempt_whose_folder_was_deleted_is_made_good_from_the_beginning(bench, resumable, spec):
    undisturbed = bench.finish(spec)
    shutil.rmtree(bench.volume / "jobs")
    again = bench.finish(spec, attempt=2, checkpoints=resumable(*undisturbed[1].checkpoints.values()))

    assert len(again[1].resumed.skipped) == 3
    assert all("is not there" in sentence for sentence in again[1].resumed.skipped)
    same(undisturbed, again, since=0)


def rewritten(bench, saved, change):
    """Return a checkpoint as another version of fitq would have written it."""
    with np.load(bench.volume / saved.file.path) as archive:
        members = dict(archive)
    manifest = json.loads(members["manifest"].tobytes())
    change(manifest)
    members["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    with (bench.volume / saved.file.path).open("wb") as file:
        np.savez(file, **members)
    return Checkpointed(
        saved.name, saved.epoch, saved.step, store.describe(bench.volume, saved.file.path), saved.weights_sha256
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest.update(format=99), "has format 99; 1 is read"),
        (lambda manifest: manifest["progress"].update(unheard_of=1), "newer fitq: it holds unheard_of"),
        (lambda manifest: manifest["progress"].pop("rows"), "is no checkpoint"),
        (lambda manifest: manifest.pop("weights"), "is no checkpoint"),
    ],
)
def test_a_checkpoint_of_a_version_that_is_not_known_here_is_passed_over(bench, resumable, spec, change, says):
    undisturbed = bench.finish(spec)
    older, newer = list(undisturbed[1].checkpoints.values())[:2]
    again = bench.finish(spec, attempt=2, checkpoints=resumable(older, rewritten(bench, newer, change)))

    (sentence,) = again[1].resumed.skipped
    assert sentence.startswith("epoch-1 was passed over: ")
    assert says in sentence
    same(undisturbed, again, since=1)


def test_a_checkpoint_of_an_older_version_is_gone_on_from(bench, resumable, spec):
    undisturbed = bench.finish(spec)
    saved = undisturbed[1].checkpoints["epoch-1"]

    def forget(manifest):
        for name in ("data", "plan", "inexact", "files", "finished", "stop_training"):
            manifest["progress"].pop(name)

    again = bench.finish(spec, attempt=2, checkpoints=resumable(rewritten(bench, saved, forget)))

    assert again[1].resumed.skipped == ()
    same(undisturbed, again, since=2)
