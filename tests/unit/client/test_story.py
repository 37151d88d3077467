import pytest

from fitq.follow import Event
from fitq.story import Story

JOB = {"id": "job_1", "kind": "train", "state": "queued", "spec": {"fit": {"epochs": 3}}, "progress": None}


@pytest.fixture
def story():
    return Story(dict(JOB))


def lines(story, kind, /, **data):
    return [line.said for line in story.hear(Event(kind, data))]


def test_a_waiting_job_says_why_and_says_it_once(story):
    waiting = JOB | {"waiting_reason": "2 jobs are before it in lane 'cpu'."}
    assert lines(story, "job", **waiting) == ["Queued. 2 jobs are before it in lane 'cpu'."]
    assert lines(story, "job", **waiting) == []
    assert story.waits == "2 jobs are before it in lane 'cpu'."
    lines(story, "state", state="running", attempt=1)
    assert story.waits == ""


def test_epochs_are_counted_from_one(story):
    assert lines(story, "state", state="running", attempt=1) == ["Attempt 1 runs."]
    assert lines(story, "epoch", epoch=0, metrics={"loss": 0.5, "acc": None}) == [
        "Epoch 1/3  loss 0.5000  acc not finite"
    ]
    assert story.done == 1


def test_an_attempt_that_resumes_computes_its_epochs_anew(story):
    lines(story, "state", state="running", attempt=1)
    for epoch in range(3):
        lines(story, "epoch", epoch=epoch, metrics={"loss": 1.0})
    error = {"code": "worker_lost", "message": "Worker w1 is gone."}
    assert lines(story, "state", state="queued", attempt=1, outcome="failed", error=error) == [
        "Attempt 1 ended: Worker w1 is gone.",
        "It is queued again.",
    ]
    lines(story, "state", state="running", attempt=2)
    assert lines(story, "resumed", attempt=2, epoch=2, step=20, skipped=["epoch-3 is damaged"]) == [
        "epoch-3 is damaged",
        "Attempt 2 resumed from epoch 2.",
    ]
    assert list(story.epochs) == [0, 1]


def test_a_worker_that_stops_in_order_is_no_fault(story):
    said = lines(story, "state", state="queued", attempt=1, outcome="released")
    assert said == ["Attempt 1 ended: its worker stopped in order", "It is queued again."]


def test_phases_of_a_job_without_epochs_are_lines(story):
    story = Story(JOB | {"kind": "evaluate"})
    assert lines(story, "progress", phase="evaluate", step=1, steps=5) == ["evaluate …"]
    assert lines(story, "progress", phase="evaluate", step=2, steps=5) == []
    assert story.total == 0


def test_a_wish_to_cancel_and_a_lost_server_are_told(story):
    assert lines(story, "cancel_requested", mode="now") == ["Its end was asked for: at once."]
    assert lines(story, "cancel_requested", mode="after_epoch") == ["Its end was asked for: after this epoch."]
    (said,) = lines(story, "disconnected", message="No answer.")
    assert said.startswith("No answer. Trying again")


def test_what_a_server_says_cannot_move_the_cursor(story):
    (said,) = lines(story, "epoch", epoch=0, metrics={"\x1b[2Jloss\n": 1.0})
    assert said == "Epoch 1/3  loss 1.0000"


def test_what_is_not_known_is_passed_over(story):
    assert lines(story, "news_of_tomorrow", some="thing") == []
