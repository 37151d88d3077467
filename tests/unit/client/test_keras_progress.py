"""What somebody sees who waits for a fit: Keras's own bars and lines, and a word when he is interrupted."""

import re

import pytest

import fitq
from fitq.errors import CannotTravel, NoServer
from fitq.local.progress import Progress, level
from fitq.local.waiting import attached


@pytest.fixture
def queue(server):
    with fitq.connect() as found:
        yield found


def life(server, queue, verbose):
    """Follow a job of two epochs of 4 steps, the second of which a second attempt runs."""
    one = server.add(spec={"kind": "train", "fit": {"epochs": 2}})
    server.run(one)
    job = queue.job(one)
    shown = Progress(job, verbose)
    events = iter(job.events())

    def until(kind):
        for event in events:
            shown.hear(event)
            if event.type == kind:
                return

    until("state")
    until("state")
    for step in (1, 3):
        server.progress(one, phase="training", epoch=0, epochs=2, step=step, steps=4, metrics={"loss": 1.0 / step})
        until("progress")
    server.epoch(one, 0, loss=0.25, val_loss=float("0.5"))
    until("epoch")
    server.emit(one, "state", {"state": "queued", "attempt": 1, "error": {"message": "its worker died"}})
    server.run(one, attempt=2)
    server.epoch(one, 1, loss=0.125, val_loss=None)
    server.end(one, "succeeded", value={})
    for event in events:
        shown.hear(event)
    return job


def test_bars_are_keras_s_own(server, queue, capsys):
    life(server, queue, "auto")
    said = re.sub(r"\x1b\[\d+m|[\b\r]", "", capsys.readouterr().out)
    assert re.search(r"Epoch 1/2\n", said)
    assert re.search(r"3/4 ━+ \d+s \d+[mu]?s/step - loss: 0\.3333", said)
    assert re.search(r"4/4 ━+ \d+s .*/step - loss: 0\.2500 - val_loss: 0\.5000\s*\n", said)
    assert re.search(r"Epoch 2/2\n4/4 .* - loss: 0\.1250 - val_loss: nan", said)
    assert said.index("its worker died") < said.index("Attempt 2 runs.") < said.index("Epoch 2/2")


def test_lines_are_one_for_each_epoch_and_silence_is_silence(server, queue, capsys):
    life(server, queue, 2)
    said = capsys.readouterr().out
    assert re.findall(r"4/4 - \d+s - .* - loss: (\S+) - val_loss: (\S+)\n", said) == [
        ("0.2500", "0.5000"),
        ("0.1250", "nan"),
    ]
    assert "━" not in said
    life(server, queue, 0)
    assert capsys.readouterr().out == ""
    with pytest.raises(CannotTravel, match="verbose must be"):
        level("loud")


SPEC = {"kind": "train", "model": {}, "fit": {"epochs": 2}}


def test_who_is_interrupted_learns_that_the_job_goes_on(server, queue, capsys):
    with pytest.raises(KeyboardInterrupt), attached(queue, SPEC) as job:
        raise KeyboardInterrupt
    said = capsys.readouterr().err
    assert f"The job {job.id} goes on." in said
    for remedy in (f'queue.job("{job.id}").watch()', "load_into(model)", f"fitq cancel {job.id}"):
        assert remedy in said
    with pytest.raises(ValueError, match="else"), attached(queue, SPEC):
        raise ValueError("else")
    assert capsys.readouterr().err == ""


def test_who_loses_the_server_learns_how_to_come_back(server, queue, capsys):
    def lose_it(job):
        server.faults += ["drop"] * 9
        job.refresh()

    with pytest.raises(NoServer), attached(queue, SPEC) as job:
        lose_it(job)
    assert f"The job {job.id} goes on." in capsys.readouterr().err


def test_of_a_job_that_has_ended_nothing_is_said_to_go_on(server, queue, capsys):
    def interrupt_behind_its_end(job):
        server.run(job.id)
        server.end(job.id, "succeeded", value={})
        job.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), attached(queue, SPEC) as job:
        interrupt_behind_its_end(job)
    said = capsys.readouterr().err
    assert f"The job {job.id} has succeeded." in said
    assert "load_into(model)" in said
    assert "cancel" not in said
