import socket

import pytest

import fitq
from fitq import connection, errors

SPEC = {"kind": "train", "model": {}}


@pytest.fixture
def queue(server):
    with fitq.connect() as queue:
        yield queue


def test_a_submit_whose_answer_is_lost_makes_one_job(server, queue):
    server.faults = ["drop", 503]
    job = queue.submit(SPEC)
    assert list(server.jobs) == [job.id]
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.sent("POST", "/jobs")}
    assert len(server.sent("POST", "/jobs")) == 3
    assert len(keys) == 1


def test_each_submit_has_a_key_of_its_own(server, queue):
    assert queue.submit(SPEC).id != queue.submit(SPEC).id


def test_a_key_of_ones_own_is_used(server, queue):
    assert queue.submit(SPEC, idempotency_key="mine").id == queue.submit(SPEC, idempotency_key="mine").id
    with pytest.raises(errors.Misconfigured):
        queue.submit(SPEC, idempotency_key="schlüssel")


def test_reads_are_tried_again(server, queue):
    job_id = server.add()
    server.faults = ["drop", 502, 504]
    assert queue.job(job_id).state == "queued"
    server.faults = [503] * 4
    with pytest.raises(errors.Unavailable, match="busy"):
        queue.job(job_id)


def test_what_may_have_happened_is_not_asked_for_twice(server, queue):
    job = queue.job(server.add(state="failed"))
    server.faults = ["drop"]
    with pytest.raises(errors.NoServer, match="broke"):
        job.retry()
    assert len(server.sent("POST", "/retry")) == 1


def test_a_refused_spec_names_its_fields(server, queue):
    with pytest.raises(errors.Invalid) as caught:
        queue.submit({"kind": "train"})
    assert caught.value.status == 422
    assert caught.value.code == "bad_spec"
    assert caught.value.request_id == "req_1"
    assert caught.value.fields == (
        errors.FieldProblem("/model", "field required"),
        errors.FieldProblem("x", "is wrong"),
    )


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr(connection, "RETRY_DELAYS_S", (0.0,))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with fitq.connect(url) as queue, pytest.raises(errors.NoServer) as caught:
            queue.workers()
    assert str(caught.value) == f"No fitq server answers at {url}. Start one with `fitq up`, or set FITQ_URL."


def test_something_else_that_answers_is_no_fitq_server(server):
    # The fake's logs are text, as another web server's page would be.
    job = server.add()
    server.logs[job, None] = "<html>"
    with fitq.connect() as queue, pytest.raises(errors.NoServer, match="is no fitq server"):
        queue._connection.get(connection.path("jobs", job, "logs"))


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://[::1", "http://h:99999", "http://h:x"])
def test_a_wrong_url_is_named(url):
    with pytest.raises(errors.Misconfigured, match="is no URL of a fitq server"):
        fitq.connect(url)


def test_the_key_travels_as_a_bearer_token(server, monkeypatch):
    monkeypatch.setenv("FITQ_API_KEY", " secret\n")
    with fitq.connect() as queue:
        queue.workers()
    assert server.requests[-1][2]["Authorization"] == "Bearer secret"
    assert server.requests[-1][2]["User-Agent"].startswith("fitq/")


def test_a_key_that_cannot_travel_is_refused():
    with pytest.raises(errors.Misconfigured, match="FITQ_API_KEY"):
        fitq.connect("http://h", api_key="a\r\nb")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with fitq.connect() as queue:
        assert queue.workers()[0]["name"] == "w1"


def test_no_id_leaves_its_place_in_the_path():
    assert connection.path("jobs", "../workers?x#y/z") == "/v1/jobs/..%2Fworkers%3Fx%23y%2Fz"


def test_every_error_is_a_fitq_error_with_a_sentence():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    for kind in kinds:
        assert issubclass(kind, errors.FitqError)
        assert str(kind()).endswith((".", "it goes on", "FITQ_API_KEY.", "try again."))


def test_a_list_is_read_page_by_page(server, queue):
    for number in range(1, 251):
        server.add(number)
    found = [job.id for job in queue.jobs(limit=230)]
    assert len(found) == len(set(found)) == 230
    assert [len(one[1].split("cursor")) for one in server.sent("GET", "/jobs")] == [1, 2, 2]
    assert len(list(queue.jobs())) == 250
    assert list(queue.jobs(limit=0)) == []


def test_a_download_is_whole_or_not_there(server, queue, tmp_path):
    job = queue.job(server.add())
    server.files["best"] = b"12345"
    target = tmp_path / "model.npz"
    job.download_checkpoint("best", target)
    assert target.read_bytes() == b"12345"
    with pytest.raises(errors.NotFound):
        job.download_checkpoint("gone", tmp_path / "other.npz")
    assert list(tmp_path.iterdir()) == [target]


def test_a_download_that_breaks_off_is_begun_again(server, queue, tmp_path):
    job = queue.job(server.add())
    server.files["best"] = b"1234567890"
    server.faults = ["cut", 503, "drop"]
    job.download_checkpoint("best", tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == b"1234567890"
    server.faults = ["cut"] * 4
    with pytest.raises(errors.NoServer):
        job.download_checkpoint("best", tmp_path / "other.npz")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.npz"]


def test_the_public_names():
    assert {name for name in fitq.__all__ if getattr(fitq, name)} == set(fitq.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fitq.nothing  # noqa: B018
