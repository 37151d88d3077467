"""What jobs leave behind: metrics, history, checkpoints, artifacts, logs, results."""

import base64
import hashlib
import itertools
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared import store
from shared.states import Failure

#: For what does not depend on the database.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def strict(data: bytes) -> Any:
    """Parse as a strict client does: no NaN, no Infinity."""

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(data, parse_constant=refuse)


@pytest.fixture
def trained(submitted: str, worker: Any) -> str:
    attempt = worker.claim()
    worker.epoch(attempt, 0, loss=0.5, accuracy=0.75)
    worker.epoch(attempt, 1, loss=math.nan, accuracy=1.0)
    worker.epoch(attempt, 2, loss=-math.inf, accuracy=1.0)
    return submitted


# --- metrics ---


def test_metrics_say_what_was_not_finite(client: FlaskClient, trained: str) -> None:
    rows = strict(client.get(f"/v1/jobs/{trained}/metrics?names=loss").data)["data"]

    assert [(row["epoch"], row["value"], row["value_kind"]) for row in rows] == [
        (0, 0.5, "finite"),
        (1, None, "nan"),
        (2, None, "-inf"),
    ]
    assert {row["attempt"] for row in rows} == {1}


def test_history_is_what_keras_returns(client: FlaskClient, trained: str) -> None:
    answer = strict(client.get(f"/v1/jobs/{trained}/history").data)

    assert answer == {"loss": [0.5, None, None], "accuracy": [0.75, 1.0, 1.0]}


def test_a_job_without_metrics(client: FlaskClient, submitted: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/metrics").json["data"] == []
    assert client.get(f"/v1/jobs/{submitted}/history").json == {}


def test_metrics_narrow_down(client: FlaskClient, trained: str) -> None:
    def found(query: str) -> list[tuple[int, str]]:
        rows = client.get(f"/v1/jobs/{trained}/metrics?{query}").json["data"]
        return [(row["epoch"], row["name"]) for row in rows]

    assert found("since_epoch=2") == [(2, "accuracy"), (2, "loss")]
    assert found("names=accuracy,loss&since_epoch=2") == [(2, "accuracy"), (2, "loss")]
    assert found("names=accuracy&names=loss&since_epoch=2") == [(2, "accuracy"), (2, "loss")]
    assert found("names=nothing") == []
    assert found("names=a%00b,nothing") == []


def test_pages_of_metrics_end_with_whole_epochs(client: FlaskClient, trained: str) -> None:
    seen: list[int] = []
    since: int | None = 0
    while since is not None:
        page = client.get(f"/v1/jobs/{trained}/metrics?limit=1&since_epoch={since}").json
        seen += [row["epoch"] for row in page["data"]]
        since = page["next_since_epoch"]
        assert page["has_more"] == (since is not None)

    assert seen == [0, 0, 1, 1, 2, 2]


@on_sqlite
@pytest.mark.parametrize("query", ["since_epoch=-1", "since_epoch=99999999999", "limit=0", "limit=10001", "until=3"])
def test_wrong_metric_parameters(client: FlaskClient, submitted: str, query: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/metrics?{query}").status_code == 400


# --- checkpoints and artifacts ---


def test_checkpoints_are_listed_and_downloaded(client: FlaskClient, submitted: str, worker: Any) -> None:
    attempt = worker.claim()
    stored = {
        name: worker.checkpoint(attempt, name, name.encode() * 100, step=step)
        for step, name in enumerate(["epoch-0", "epoch-1", "final"], 1)
    }
    worker.succeed(attempt, final="final")
    url = f"/v1/jobs/{submitted}/checkpoints"

    listed = client.get(url).json["data"]
    assert [one["name"] for one in listed] == ["final", "epoch-1", "epoch-0"]
    assert listed[0]["sha256"] == stored["final"].sha256

    names = {
        "final": "final",
        "last": "epoch-1",
        "best": "epoch-0",
        "0": "epoch-0",
        "1": "epoch-1",
        "epoch-1": "epoch-1",
    }
    for asked, name in names.items():
        answer = client.get(f"{url}/{asked}/content")
        assert answer.data == name.encode() * 100
        assert answer.headers["ETag"] == f'"{stored[name].sha256}"'
        assert f"{submitted}-{name}.npz" in answer.headers["Content-Disposition"]


def test_a_download_goes_on_and_is_not_repeated(client: FlaskClient, submitted: str, worker: Any) -> None:
    worker.checkpoint(worker.claim(), "epoch-0", b"0123456789")
    url = f"/v1/jobs/{submitted}/checkpoints/0/content"

    whole = client.get(url)
    part = client.get(url, headers={"Range": "bytes=4-", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.data, part.headers["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    assert client.get(url, headers={"Range": "bytes=4-", "If-Range": '"other"'}).data == b"0123456789"
    assert client.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    beyond = client.get(url, headers={"Range": "bytes=99-"})
    assert (beyond.status_code, beyond.content_type) == (416, "application/problem+json")
    assert client.head(url).headers["Content-Length"] == "10"
    digest = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    assert part.headers["Repr-Digest"] == f"sha-256=:{digest}:"


@on_sqlite
@pytest.mark.parametrize(
    ("damage", "headers"),
    [
        ("altered", {}),
        ("cut", {}),
        ("gone", {}),
        # Of a part, only the file's size is looked at.
        ("cut", {"Range": "bytes=0-1"}),
        ("gone", {"Range": "bytes=0-1"}),
    ],
)
def test_a_damaged_file_is_not_sent(
    client: FlaskClient, submitted: str, worker: Any, volume: Path, damage: str, headers: dict[str, str]
) -> None:
    path = volume / worker.checkpoint(worker.claim(), "epoch-0", b"0123456789").path
    {"altered": lambda: path.write_bytes(b"9" * 10), "cut": lambda: path.write_bytes(b"0"), "gone": path.unlink}[
        damage
    ]()

    answer = client.get(f"/v1/jobs/{submitted}/checkpoints/0/content", headers=headers)

    assert (answer.status_code, answer.json["code"]) == (500, "checkpoint_corrupt")


@on_sqlite
@pytest.mark.parametrize("name", ["7", "final", "best", "last", "nothing", "²", "9" * 400, "..", "%00", "..%2f..%2fx"])
def test_no_such_checkpoint(client: FlaskClient, submitted: str, name: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/checkpoints/{name}/content").status_code == 404


def test_an_artifact_is_downloaded(client: FlaskClient, submitted: str, worker: Any) -> None:
    stored = worker.artifact(worker.claim(), "predictions.npz", b"predicted")

    answer = client.get(f"/v1/jobs/{submitted}/artifacts/predictions.npz/content")

    assert (answer.data, answer.headers["ETag"]) == (b"predicted", f'"{stored.sha256}"')
    assert "attachment" in answer.headers["Content-Disposition"]


@on_sqlite
def test_an_artifact_in_a_folder_is_downloaded(client: FlaskClient, submitted: str, worker: Any) -> None:
    worker.artifact(worker.claim(), "logs/train/run 1.csv", b"epoch")
    url = f"/v1/jobs/{submitted}/artifacts"

    for name in ("logs/train/run 1.csv", "logs%2Ftrain%2Frun%201.csv"):
        answer = client.get(f"{url}/{name}/content")
        assert answer.data == b"epoch"
        assert "run 1.csv" in answer.headers["Content-Disposition"]
    for name in ("../log.txt", "..%2F..%2Flog.txt", "logs//train/run 1.csv", "/etc/passwd", "logs"):
        assert client.get(f"{url}/{name}/content").status_code in {308, 404}


def test_an_artifact_that_is_replaced_all_the_time_is_always_there(
    client: FlaskClient, submitted: str, worker: Any
) -> None:
    attempt = worker.claim()
    worker.artifact(attempt, "log.csv", b"0", stored_as="0.log")
    ended = threading.Event()

    def write() -> None:
        for number in itertools.count(1):
            if ended.is_set():
                return
            worker.artifact(attempt, "log.csv", str(number).encode(), stored_as=f"{number}.log")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            answers = [client.get(f"/v1/jobs/{submitted}/artifacts/log.csv/content") for _ in range(150)]
        finally:
            ended.set()
        writing.result()

    assert {answer.status_code for answer in answers} == {200}
    numbers = [int(answer.data) for answer in answers]
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]


def test_artifacts_are_listed(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}/artifacts"
    assert client.get(url).json == {"object": "list", "data": [], "has_more": False}
    attempt = worker.claim()
    stored = worker.artifact(attempt, "predictions.npz", b"predicted")
    worker.artifact(attempt, "architecture.json", b"{}")

    first, second = client.get(url).json["data"]

    assert (first["name"], first["bytes"]) == ("architecture.json", 2)
    assert (second["name"], second["sha256"], second["attempt"]) == ("predictions.npz", stored.sha256, 1)
    assert second["created_at"].endswith("Z")


def test_attempts_are_listed(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}/attempts"
    assert client.get(url).json["data"] == []
    worker.fail(worker.claim(), Failure.CRASHED, "The runner was killed.")
    worker.claim()

    first, second = client.get(url).json["data"]

    assert (first["attempt"], first["outcome"]) == (1, "failed")
    assert first["error"] == {"code": "crashed", "message": "The runner was killed."}
    assert first["ended_at"] >= first["started_at"]
    assert (second["attempt"], second["outcome"], second["error"], second["ended_at"]) == (2, None, None, None)
    assert (second["worker"], second["resumed_epoch"]) == ("w1", None)


@on_sqlite
@pytest.mark.parametrize("name", ["other.npz", "%00", "..", "..%2f1%2flog.txt", "a" * 300])
def test_no_such_artifact(client: FlaskClient, submitted: str, name: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/artifacts/{name}/content").status_code == 404


# --- logs ---


def test_logs_of_each_attempt(client: FlaskClient, submitted: str, worker: Any, volume: Path) -> None:
    url = f"/v1/jobs/{submitted}/logs"
    assert client.get(url).data == b""

    worker.claim()
    assert client.get(url).data == b""
    for attempt, text in ((1, b"one\ntwo\n\xff three\n"), (2, b"other\n")):
        path = volume / store.log_path(submitted, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)

    answer = client.get(url)
    assert (answer.data, answer.mimetype) == (b"one\ntwo\n\xff three\n", "text/plain")
    assert client.get(f"{url}?tail=2").data == b"two\n\xff three\n"
    assert client.get(f"{url}?tail=0").data == b""
    assert client.get(f"{url}?attempt=2").data == b"other\n"
    assert client.get(f"{url}?attempt=3").data == b""
    assert client.get(url, headers={"Range": "bytes=4-"}).data == b"two\n\xff three\n"
    assert client.get(f"{url}?attempt=1&offset=4").data == b"two\n\xff three\n"
    assert client.get(f"{url}?attempt=1&offset=99").data == b""
    both = client.get(f"{url}?attempt=1&offset=4&tail=1")
    assert (both.status_code, both.json["errors"][0]["parameter"]) == (400, "offset")


@on_sqlite
@pytest.mark.parametrize(
    "query",
    ["attempt=0", "attempt=x", "tail=-1", "attempt=../1", "follow=x", "offset=-1", "attempt=1&offset=x", "offset=1"],
)
def test_wrong_log_parameters(client: FlaskClient, submitted: str, query: str) -> None:
    assert client.get(f"/v1/jobs/{submitted}/logs?{query}").status_code == 400


# --- result ---


def test_a_result_comes_with_success(client: FlaskClient, submitted: str, worker: Any) -> None:
    url = f"/v1/jobs/{submitted}/result"
    early = client.get(url)
    assert (early.status_code, early.json["code"]) == (409, "conflict")
    assert "is queued" in early.json["detail"]

    worker.succeed(worker.claim(), final="final", loss=0.25)

    result = client.get(url).json
    assert result["value"] == {"loss": 0.25}
    assert (result["final_checkpoint"], result["weights_sha256"], result["attempt"]) == ("final", "a" * 64, 1)


def test_a_cancelled_job_has_no_result(client: FlaskClient, submitted: str) -> None:
    client.post(f"/v1/jobs/{submitted}/cancel")

    answer = client.get(f"/v1/jobs/{submitted}/result")

    assert answer.status_code == 409
    assert "is cancelled" in answer.json["detail"]
