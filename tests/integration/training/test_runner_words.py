"""What a job prints never ends it: on a full disk it is dropped, and what no encoding has is written as an escape."""

import os

import pytest

from worker import runner


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
def test_words_that_no_disk_has_room_for_are_dropped():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        os.write(descriptor, b"words")
    stream = runner._stream(descriptor)
    for _ in range(3):
        print("words " * 100_000, file=stream, flush=True)
    stream.close()
    os.close(descriptor)


def test_words_are_written_as_they_come(tmp_path):
    path = tmp_path / "log.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    stream = runner._stream(descriptor)
    print("Größe", "\ud800", file=stream)

    assert path.read_text(encoding="utf-8") == "Größe \\ud800\n"
    stream.close()
    os.close(descriptor)
