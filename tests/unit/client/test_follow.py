import socket
import threading
import time

import pytest

import fitq
from fitq import errors, follow


@pytest.fixture
def queue(server):
    with fitq.connect() as queue:
        yield queue


def told(events):
    """Follow in a thread; return the thread and the list that it fills."""
    heard = []

    def listen():
        heard.extend(iter_into(events, heard))

    def iter_into(events, into):
        for event in events:
            into.append(event)
        return []

    thread = threading.Thread(target=listen)
    thread.start()
    return thread, heard


def until(condition):
    while not condition():
        time.sleep(0.005)


def numbers(heard):
    return [event.seq for event in heard if event.seq is not None]


def test_a_job_is_followed_to_its_end(server, queue):
    job = queue.job(server.add())
    thread, heard = told(job.events())
    until(lambda: server.streams)
    server.run(job.id)
    server.progress(job.id, phase="train", epoch=0, epochs=3, step=5, steps=10, metrics={"loss": 1.0})
    server.epoch(job.id, 0, loss=0.5)
    until(lambda: any(event.type == "epoch" for event in heard))
    server.end(job.id, "succeeded", value={"loss": 0.5})
    thread.join()
    assert numbers(heard) == [1, 2, 3, 4]
    assert "progress" in [event.type for event in heard]
    assert heard[-1].type == "job"
    assert job.state == "succeeded"


def test_a_broken_stream_goes_on_where_it_broke(server, queue):
    job = queue.job(server.add())
    thread, heard = told(job.events())
    until(lambda: server.streams)
    for epoch in range(3):
        server.epoch(job.id, epoch, loss=1.0)
        until(lambda n=epoch: len(numbers(heard)) == n + 2)
        server.streams[-1].shutdown(socket.SHUT_RDWR)
        until(lambda n=epoch: len(server.streams) == n + 2)
    server.end(job.id, "succeeded")
    thread.join()
    assert numbers(heard) == [1, 2, 3, 4, 5]
    lasts = [
        headers["Last-Event-ID"] for _, _, headers, _ in server.sent("GET", "/events") if "Last-Event-ID" in headers
    ]
    assert lasts[0] == "0"
    assert {"2", "3", "4"} <= set(lasts)


def test_without_a_stream_the_pages_are_asked_for(server, queue):
    server.streams_refused = True
    job = queue.job(server.add())
    thread, heard = told(job.events())
    server.epoch(job.id, 0, loss=1.0)
    until(lambda: len(numbers(heard)) == 2)
    server.end(job.id, "failed", error={"code": "nan_loss", "message": "The loss became NaN."})
    thread.join()
    assert numbers(heard) == [1, 2, 3]
    with pytest.raises(errors.JobFailed, match=r"The loss became NaN\. \(nan_loss\)"):
        job.raise_for_state()


def test_an_earlier_end_of_a_retried_job_is_not_its_end(server, queue):
    job = queue.job(server.add())
    server.end(job.id, "failed", error={"code": "crashed", "message": "x"})
    server.emit(job.id, "state", {"state": "queued", "retry": True}, state="queued", finished_at=None)
    thread, heard = told(job.events())
    until(lambda: len(numbers(heard)) == 3)
    server.end(job.id, "succeeded")
    thread.join()
    assert numbers(heard) == [1, 2, 3, 4]


def test_a_job_that_has_ended_tells_its_whole_life(server, queue):
    job_id = server.add()
    server.end(job_id, "cancelled")
    heard = list(queue.job(job_id).events())
    assert [event.type for event in heard] == ["state", "state", "job"]
    assert not server.streams
    with pytest.raises(errors.JobCancelled):
        queue.job(job_id).raise_for_state()


def test_a_waiting_job_is_looked_at_for_its_reason(server, queue):
    job = queue.job(server.add())
    thread, heard = told(job.events())
    until(lambda: server.streams)
    server.jobs[job.id] |= {"waiting_reason": "3 jobs are before it."}
    until(lambda: any(event.data.get("waiting_reason") == "3 jobs are before it." for event in heard))
    server.end(job.id, "cancelled")
    thread.join()


def test_a_wait_ends_when_it_was_told_to(server, queue):
    job = queue.job(server.add())
    with pytest.raises(errors.WaitTimeout, match=r"is queued after 0\.2 s of waiting; it goes on"):
        job.wait(timeout_s=0.2)
    with pytest.raises(TimeoutError):
        job.wait(timeout_s=0.01)
    server.streams_refused = True
    with pytest.raises(errors.WaitTimeout):
        job.wait(timeout_s=0.1)


def test_no_thread_outlives_its_reader(server, queue):
    job = queue.job(server.add())
    events = job.events()
    assert next(events).type == "job"
    assert next(events).type == "state"
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "fitq-events"]


def test_a_server_that_restarts_is_waited_for(server, queue):
    job = queue.job(server.add())
    thread, heard = told(job.events())
    until(lambda: server.streams)
    server.faults = ["drop"] * 8
    server.streams[-1].shutdown(socket.SHUT_RDWR)
    until(lambda: any(event.type == "disconnected" for event in heard))
    server.end(job.id, "succeeded")
    thread.join()
    assert numbers(heard) == [1, 2]


def test_a_server_that_stays_away_is_given_up(server, queue, monkeypatch):
    monkeypatch.setattr(follow, "PATIENCE_S", 0.0)
    job = queue.job(server.add())
    events = job.events()
    next(events)
    server.faults = ["drop"] * 1000
    with pytest.raises(errors.NoServer):
        list(events)


def test_a_job_that_is_not_there(server, queue):
    with pytest.raises(errors.NotFound):
        queue.job("job_0193a2c4-7a3e-7c51-b2f0-000000000000")
