"""The files that callbacks leave, brought to where the caller wanted them while their job runs."""

import pytest

from fitq.local import files

LINES = [b"epoch,loss\n", b"0,0.5\n", b"1,0.25\n", b"2,0.125\n"]


@pytest.fixture
def job(queue, worker, spec):
    submitted = queue.submit(spec)
    worker.claim()
    return submitted


@pytest.mark.parametrize("had", [b"", b"epoch,loss\n7,1.0\n"])
def test_a_log_that_is_brought_again_and_again_stands_once_behind_what_was_there(job, worker, tmp_path, had):
    target = tmp_path / "log.csv"
    if had:
        target.write_bytes(had)
    landings = [files.landing(0, target, append=True)]

    for epoch in (1, 2, 3):
        content = b"".join(LINES[: epoch + 1])
        worker.artifact("0/log.csv", content, stored_as=f"{epoch}.log")
        assert files.fetch(job, landings) == [target]
        assert files.fetch(job, landings) == [], "nothing new"
        assert target.read_bytes() == (had + b"".join(LINES[1 : epoch + 1]) if had else content)


def test_a_file_lands_where_its_callback_wanted_it_and_nowhere_above(job, worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    landings = [files.landing(0, tmp_path / "away" / "{epoch}" / "m.keras"), files.landing(1, files.Path("logs"))]
    worker.artifact("0/1/m.keras", b"one", stored_as="1.keras")
    worker.artifact("logs/train/events", b"two", stored_as="2.log")
    worker.artifact("other.csv", b"three", stored_as="3.csv")

    found = files.fetch(job, landings)

    assert sorted(found) == [tmp_path / "away" / "1" / "m.keras", tmp_path / "logs" / "train" / "events"]
    assert [path.read_bytes() for path in sorted(found)] == [b"one", b"two"]


def test_a_log_beside_a_folder_of_like_name_keeps_what_it_had(job, worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs.csv").write_bytes(b"epoch,loss\n7,1.0\n")
    landings = [files.landing(0, files.Path("logs")), files.landing(1, files.Path("logs.csv"), append=True)]
    worker.artifact("logs.csv", b"".join(LINES), stored_as="1.csv")

    files.fetch(job, landings)

    assert (tmp_path / "logs.csv").read_bytes() == b"epoch,loss\n7,1.0\n" + b"".join(LINES[1:])
