"""The messages: what goes in comes out, and nothing else does."""

import json
import math
import os
import struct
from multiprocessing import Pipe

import pytest

from shared.store import StoredFile
from worker import wire

FILE = StoredFile("jobs/a/1/x", 3, "0" * 64)
MESSAGES = [
    wire.Stop("after_epoch"),
    wire.Started({"threads": 2}),
    wire.Resumed(3, 30, ("why",)),
    wire.Progress("training", 1, 2, 3, 4, {"loss": 0.5}),
    wire.Epoch(1, {"loss": 0.1}),
    wire.Checkpointed("epoch-1", 2, 20, FILE, "0" * 64, "loss", 0.1, greater_is_better=True),
    wire.Artifact("predictions.npz", "application/zip", FILE),
    wire.Finished({"a": [1, 2]}, "0" * 64, "epoch-1"),
    wire.Stopped("release"),
    wire.Failed("bad_spec", "No."),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message):
    out = wire.decode(wire.encode(message))

    assert type(out) is type(message)
    assert json.loads(wire.encode(out)) == json.loads(wire.encode(message))


def test_what_is_not_finite_survives():
    out = wire.decode(wire.encode(wire.Epoch(0, {"a": math.nan, "b": math.inf})))

    assert math.isnan(out.metrics["a"])
    assert out.metrics["b"] == math.inf


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04.",
        b"null",
        b"[]",
        b'["Nothing", {}]',
        b'["Epoch", {}]',
        b'["Epoch", {"epoch": 1, "metrics": {}, "more": 1}]',
        b'["Checkpointed", {"file": 3}]',
        b"[" * 100_000,
        b'["Epoch"',
        b'["Epoch", {"epoch": -1, "metrics": {}}]',
        b'["Epoch", {"epoch": 1e30, "metrics": {}}]',
        b'["Epoch", {"epoch": 1, "metrics": [1]}]',
        b'["Epoch", {"epoch": 1, "metrics": {"loss": "low"}}]',
        b'["Epoch", {"epoch": 1, "metrics": {"loss": null}}]',
        b'["Epoch", {"epoch": 1, "metrics": {"' + b"x" * 201 + b'": 1}}]',
        b'["Failed", {"code": "nonsense", "message": "x"}]',
        b'["Failed", {"code": ["a"], "message": "x"}]',
        b'["Artifact", {"name": "a", "content_type": "b", "file": null}]',
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(wire.WireError):
        wire.decode(data)


def test_what_no_database_takes_is_taken_out():
    message = wire.decode(b'["Failed", {"code": "bad_data", "message": "a\\u0000b\\ud800c"}]')

    assert message.message == "ab?c"


@pytest.fixture
def pipe():
    """A runner's end and an inbox at the other."""
    theirs, ours = Pipe()
    yield theirs, wire.Inbox(ours)
    theirs.close()
    ours.close()


def test_an_inbox_gives_what_is_complete_and_waits_for_nothing(pipe):
    theirs, inbox = pipe
    whole = wire.encode(MESSAGES[4])
    framed = struct.pack("!i", len(whole)) + whole
    os.write(theirs.fileno(), framed + framed[:7])
    assert [message for message, _ in inbox.read()] == [MESSAGES[4]]

    os.write(theirs.fileno(), framed[7:])
    assert [message for message, _ in inbox.read()] == [MESSAGES[4]]
    theirs.close()
    with pytest.raises(EOFError):
        inbox.read()


def test_a_message_that_says_it_is_too_long_is_refused_before_it_is_read(pipe):
    theirs, inbox = pipe
    for length in (wire.MESSAGE_BYTES + 1, -1):
        os.write(theirs.fileno(), struct.pack("!i", length) + b'["Epoch", {}')
        with pytest.raises(wire.WireError, match="bytes"):
            inbox.read()
