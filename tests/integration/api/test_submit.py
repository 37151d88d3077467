"""POST /v1/jobs: what is taken, what is refused, and what comes once however often it is sent."""

import gzip
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import context
from api.app import create_app
from shared import db, listing
from shared.listing import Filter
from shared.settings import Settings
from shared.spec import SPEC_BYTES

JSON = {"Content-Type": "application/json"}
#: For what is refused before a database is asked.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def count(app: Flask) -> int:
    with db.read(context.of(app).engine) as connection:
        return len(listing.page(connection, where=Filter(), limit=1000))


def test_a_job_is_taken_although_no_broker_is_there(client: FlaskClient, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json=spec)

    assert answer.status_code == 201
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["kind"], job["name"], job["attempt"]) == ("queued", "train", "digits-mlp", 0)
    assert (job["seed"], job["lane"], job["tags"]) == (7, "cpu", {"team": "vision"})
    assert job["spec"]["fit"]["epochs"] == 3
    assert job["created_at"].endswith("Z")
    assert client.get(answer.headers["Location"]).json["id"] == job["id"]


def test_a_job_is_taken_although_nobody_knows_the_brokers_name(settings: Settings, spec: dict[str, Any]) -> None:
    app = create_app(settings.model_copy(update={"broker_url": "redis://broker.invalid:6379/0"}))

    assert app.test_client().post("/v1/jobs", json=spec).status_code == 201
    context.of(app).engine.dispose()


def test_a_seed_is_drawn_and_stays(client: FlaskClient, spec: dict[str, Any]) -> None:
    del spec["seed"]

    job = client.post("/v1/jobs", json=spec).json

    assert isinstance(job["seed"], int)
    assert client.get(job["links"]["self"]).json["seed"] == job["seed"]


@on_sqlite
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b'{"kind": "train"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"kind": "train"}'.encode("utf-16"), "not UTF-8"),
        (b'{"name": "a\xff"}', "not UTF-8"),
        (b'{"name": "a\x00b"}', "not JSON"),
        (b'{"name": "a\\u0000b"}', "U+0000"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"seed": NaN}', "NaN"),
        (b'{"seed": -Infinity}', "Infinity"),
        (b'{"seed": 1e999}', "too large"),
        (b'{"seed": 1' + b"0" * 400 + b"}", "larger"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b"[" * 500 + b"]" * 500, "nested"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "nested"),
        (b"{} {}", "not JSON"),
    ],
    ids=range(17),
)
def test_what_is_no_json_is_400(client: FlaskClient, app: Flask, body: bytes, says: str) -> None:
    answer = client.post("/v1/jobs", data=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert says in answer.json["detail"]
    assert answer.json["code"] == "bad_request"
    assert count(app) == 0


def test_a_backslash_before_u0000_is_only_text(client: FlaskClient, spec: dict[str, Any]) -> None:
    spec["name"] = "a\\u0000"

    assert client.post("/v1/jobs", json=spec).json["name"] == "a\\u0000"


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}],
    ids=["none", "text", "form"],
)
def test_only_json_is_taken(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/jobs", data=b"{}", headers=headers).status_code == 415


@on_sqlite
def test_a_compressed_body_is_refused_unopened(client: FlaskClient) -> None:
    bomb = gzip.compress(b" " * 50_000_000)

    answer = client.post("/v1/jobs", data=bomb, headers={**JSON, "Content-Encoding": "gzip"})

    assert answer.status_code == 415


@on_sqlite
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_413(client: FlaskClient, app: Flask, *, chunked: bool) -> None:
    body = b'{"name": "' + b"a" * SPEC_BYTES + b'"}'
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""} if chunked else {}

    answer = client.post("/v1/jobs", data=body, headers=JSON, environ_overrides=environ)

    assert answer.status_code == 413
    assert str(SPEC_BYTES) in answer.json["detail"]
    assert count(app) == 0


def test_a_chunked_body_is_taken(client: FlaskClient, spec: dict[str, Any]) -> None:
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    answer = client.post("/v1/jobs", data=json.dumps(spec), headers=JSON, environ_overrides=environ)

    assert answer.status_code == 201


@on_sqlite
def test_a_wide_body_is_answered(client: FlaskClient) -> None:
    body = json.dumps({f"k{number}": 1 for number in range(60_000)})

    answer = client.post("/v1/jobs", data=body, headers=JSON)

    assert answer.status_code == 422


@on_sqlite
@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("kind",), "sing", "/kind"),
        (("fit", "epochs"), 10**9, "/fit/epochs"),
        (("fit", "epochs"), 0, "/fit/epochs"),
        (("fit", "batch_size"), 10**9, "/fit/batch_size"),
        (("fit", "batch_size"), True, "/fit/batch_size"),
        (("compile", "optimizer"), {"Adam": {"learning_rate": -1}}, "/compile/optimizer/Adam/learning_rate"),
        (("resources",), {"time_limit_s": 0}, "/resources/time_limit_s"),
        (("priority",), 999, "/priority"),
        (("retries",), -1, "/retries"),
        (("tags",), {"a b": "c"}, "/tags/a b"),
        (("surprise",), 1, "/surprise"),
        (("data", "train"), {"npz": "/etc/passwd"}, "/data/train/npz"),
    ],
)
def test_a_wrong_field_is_named(
    client: FlaskClient, app: Flask, spec: dict[str, Any], path: tuple[str, ...], value: Any, pointer: str
) -> None:
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    answer = client.post("/v1/jobs", json=spec)

    assert answer.status_code == 422, answer.json
    assert pointer in [error["pointer"] for error in answer.json["errors"]], answer.json
    assert answer.json["detail"]
    assert count(app) == 0


@on_sqlite
def test_every_wrong_field_is_named_at_once(client: FlaskClient, spec: dict[str, Any]) -> None:
    spec["priority"], spec["fit"]["epochs"] = 999, 0

    errors = client.post("/v1/jobs", json=spec).json["errors"]

    assert {error["pointer"] for error in errors} >= {"/priority", "/fit/epochs"}


@pytest.fixture
def reachable(volume: Any) -> Any:
    """A data folder with a good file, and traps around it."""
    (volume / "secret").write_text("secret")
    data = volume / "data"
    (data / "good.npz").write_bytes(b"0")
    (data / "link.npz").symlink_to(volume / "secret")
    (data / "folder").mkdir()
    (data / "folderlink").symlink_to("/etc")
    os.mkfifo(data / "fifo.npz")
    return data


@on_sqlite
@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "../../etc/passwd",
        "a/../../secret",
        "/etc/passwd",
        "/proc/self/environ",
        "link.npz",
        "folderlink/passwd",
        "fifo.npz",
        "folder",
        "file:///etc/passwd",
        "hf://some/thing",
        "nowhere.npz",
        "good.npz/more",
        "./good.npz",
        "a" * 300,
        "a/" * 150 + "b",
        "a\\b",
        "\x7f\n",
        "",
        "a" * 5000,
    ],
)
def test_a_file_that_is_not_there_or_climbs_out_is_422(
    client: FlaskClient, app: Flask, spec: dict[str, Any], reachable: Any, path: str
) -> None:
    spec["data"]["train"] = {"npz": path}

    answer = client.post("/v1/jobs", json=spec)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == ["/data/train/npz"]
    assert count(app) == 0


@on_sqlite
def test_weights_may_be_the_prefix_of_a_checkpoints_files(
    client: FlaskClient, spec: dict[str, Any], reachable: Any
) -> None:
    (reachable / "folder" / "my_model.index").write_bytes(b"0")
    spec["model"]["weights"] = "folder/my_model"
    assert client.post("/v1/jobs", json=spec).status_code == 201

    spec["model"]["weights"] = "folder/your_model"
    answer = client.post("/v1/jobs", json=spec)
    assert [error["pointer"] for error in answer.json["errors"]] == ["/model/weights"]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@on_sqlite
def test_refused_files_leave_none_open(client: FlaskClient, spec: dict[str, Any], reachable: Any) -> None:
    spec["data"]["train"] = {"npz": "folder/none.npz"}
    client.post("/v1/jobs", json=spec)
    before = open_files()

    for _ in range(20):
        client.post("/v1/jobs", json=spec)

    assert open_files() < before + 10


def test_a_file_that_is_there_is_taken(client: FlaskClient, spec: dict[str, Any], reachable: Any) -> None:
    spec["data"]["train"] = {"npz": "good.npz"}

    assert client.post("/v1/jobs", json=spec).status_code == 201


@on_sqlite
def test_labels_are_looked_at_as_well(client: FlaskClient, spec: dict[str, Any], reachable: Any) -> None:
    spec["data"]["validation"] = {"npy": "good.npz", "labels": "../secret"}

    errors = client.post("/v1/jobs", json=spec).json["errors"]

    assert [error["pointer"] for error in errors] == ["/data/validation/labels"]


# --- idempotency ---


def test_the_same_key_brings_the_same_job(client: FlaskClient, app: Flask, spec: dict[str, Any]) -> None:
    first = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k 1"})
    # The same value, written differently.
    text = json.dumps(spec, indent=3, sort_keys=True)
    again = client.post("/v1/jobs", data=text, headers={"Idempotency-Key": "k 1", **JSON})

    assert (first.status_code, again.status_code) == (201, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json["id"] == again.json["id"]
    assert count(app) == 1


def test_a_replay_does_not_look_at_the_files_again(client: FlaskClient, spec: dict[str, Any], reachable: Any) -> None:
    spec["data"]["train"] = {"npz": "good.npz"}
    client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})
    (reachable / "good.npz").unlink()

    assert client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"}).status_code == 200


def test_a_key_for_another_body_is_refused(client: FlaskClient, app: Flask, spec: dict[str, Any]) -> None:
    client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})
    spec["seed"] = 8

    answer = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 422
    assert answer.json["code"] == "idempotency_key_reused"
    assert count(app) == 1


@on_sqlite
@pytest.mark.parametrize("key", ["", "a" * 256, "tab\tkey", "ümlaut"])
def test_a_strange_key_is_refused(client: FlaskClient, app: Flask, spec: dict[str, Any], key: str) -> None:
    answer = client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key})

    assert answer.status_code == 400
    assert count(app) == 0


def test_of_many_at_once_one_is_stored(app: Flask, spec: dict[str, Any]) -> None:
    many = 20
    start = threading.Barrier(many)

    def submit(_: int) -> tuple[int, str]:
        start.wait()
        answer = app.test_client().post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})
        return answer.status_code, answer.json["id"]

    with ThreadPoolExecutor(many) as threads:
        answers = list(threads.map(submit, range(many)))

    assert sorted(status for status, _ in answers) == [200] * (many - 1) + [201]
    assert len({job_id for _, job_id in answers}) == 1
    assert count(app) == 1


def test_of_two_bodies_with_one_key_at_once_one_is_stored(app: Flask, spec: dict[str, Any]) -> None:
    many = 10
    start = threading.Barrier(many)

    def submit(number: int) -> int:
        start.wait()
        body = {**spec, "seed": number % 2}
        return int(app.test_client().post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"}).status_code)

    with ThreadPoolExecutor(many) as threads:
        statuses = sorted(threads.map(submit, range(many)))

    assert statuses == [200] * 4 + [201] + [422] * 5
    assert count(app) == 1
