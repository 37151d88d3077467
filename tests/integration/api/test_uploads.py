"""Uploads through the API: whole, in parts, wrong, at once, and gone."""

import hashlib
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import body, context
from shared import db, incoming, store, uploads
from shared.errors import BadData, Conflict
from shared.incoming import Incoming
from shared.states import Failure

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = f"/v1/uploads/{SHA256}"
OCTETS = {"Content-Type": "application/octet-stream"}


def ask(client: FlaskClient, content: bytes = CONTENT, **changes: Any) -> Any:
    return client.post(
        "/v1/uploads", json={"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **changes}
    )


def send(client: FlaskClient, content: bytes, offset: int, url: str = URL) -> Any:
    return client.patch(url, data=content, headers={**OCTETS, "Upload-Offset": str(offset)})


def place(answer: Any) -> tuple[int, str, str]:
    return answer.status_code, answer.headers["Upload-Offset"], answer.headers["Upload-Complete"]


def files(volume: Any) -> list[str]:
    return sorted(str(path.relative_to(volume)) for path in (volume / "uploads").glob("*/*"))


def test_a_content_arrives_in_parts_and_is_whole_at_its_end(client: FlaskClient, volume: Any) -> None:
    size = len(CONTENT)
    assert client.get(URL).status_code == 404
    assert place(ask(client, name="bytes.bin")) == (201, "0", "?0")
    assert place(send(client, CONTENT[:1000], 0)) == (200, "1000", "?0")
    with pytest.raises(BadData, match="no complete upload"):
        store.open_data(volume, f"sha256:{SHA256}")
    # Whoever comes back learns where to go on, and other places are refused.
    assert place(client.head(URL)) == (200, "1000", "?0")
    assert place(ask(client)) == (201, "1000", "?0")
    for wrong in (0, 999, 1001, size):
        refused = send(client, CONTENT[wrong:], wrong)
        assert (refused.status_code, refused.json["code"], refused.headers["Upload-Offset"]) == (
            409,
            "wrong_offset",
            "1000",
        )
    last = send(client, CONTENT[1000:], 1000)
    assert place(last) == (200, str(size), "?1")
    assert last.json["ref"] == f"sha256:{SHA256}"
    assert last.json["complete_at"] is not None
    with store.open_data(volume, last.json["ref"]) as file:
        assert file.read() == CONTENT
    # From now on nothing is sent or changed.
    assert place(ask(client)) == (200, str(size), "?1")
    assert place(send(client, b"", size)) == (200, str(size), "?1")
    assert send(client, b"x", size).status_code == 413
    assert ask(client, bytes=size + 1).status_code == 400
    assert files(volume) == [f"uploads/{SHA256[:2]}/{SHA256}"]
    listed = client.get("/v1/uploads").json["data"]
    assert [(one["sha256"], one["name"], one["bytes"], one["complete"]) for one in listed] == [
        (SHA256, "bytes.bin", size, True)
    ]


def test_a_content_that_comes_at_once_is_told_its_name(client: FlaskClient, volume: Any) -> None:
    first = client.post("/v1/uploads", data=CONTENT, headers=OCTETS)
    assert (first.status_code, first.json["sha256"]) == (201, SHA256)
    assert place(first) == (201, str(len(CONTENT)), "?1")
    assert client.post("/v1/uploads", data=CONTENT, headers=OCTETS).status_code == 200
    assert client.post("/v1/uploads", data=b"", headers=OCTETS).status_code == 400
    for number in range(4):
        client.post("/v1/uploads", data=b"%d" % number, headers=OCTETS)
    pages, cursor = [], {}
    while True:
        page = client.get("/v1/uploads", query_string={"limit": 2, **cursor}).json
        pages.append([one["sha256"] for one in page["data"]])
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [len(one) for one in pages] == [2, 2, 1]
    assert len({one for page in pages for one in page}) == 5
    assert pages[-1] == [SHA256]
    assert [path for path in files(volume) if path.endswith(".part")] == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"sha256": "A" * 64, "bytes": 1}, 422),
        ({"sha256": "../../etc/passwd", "bytes": 1}, 422),
        ({"sha256": SHA256, "bytes": 0}, 422),
        ({"sha256": SHA256, "bytes": "7"}, 422),
        ({"sha256": SHA256, "bytes": 7, "name": "a\nb"}, 422),
        ({"sha256": SHA256, "bytes": 7, "path": "/etc"}, 422),
        ({"sha256": SHA256, "bytes": 1 << 50}, 413),
        ({"sha256": SHA256, "bytes": (32768 << 20)}, 507),
        ([], 422),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_question_leaves_nothing(
    client: FlaskClient, volume: Any, monkeypatch: pytest.MonkeyPatch, asked: Any, status: int
) -> None:
    if status == 507:
        monkeypatch.setattr(incoming, "RESERVE", 1 << 60)
    answer = client.post("/v1/uploads", json=asked)
    assert answer.status_code == status, answer.json
    assert answer.json["detail"]
    assert client.get("/v1/uploads").json["data"] == []
    assert not (volume / "uploads").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_part_is_refused(client: FlaskClient) -> None:
    ask(client)
    for headers in ({}, {"Upload-Offset": "-1"}, {"Upload-Offset": "1e3"}, {"Upload-Offset": "9" * 30}):
        assert client.patch(URL, data=b"x", headers={**OCTETS, **headers}).status_code == 400
    headers = {"Upload-Offset": "0"}
    assert client.patch(URL, json={}, headers=headers).status_code == 415
    assert client.patch(URL, data=b"x", headers={**OCTETS, **headers, "Content-Encoding": "gzip"}).status_code == 415
    assert client.patch("/v1/uploads/" + "0" * 64, data=b"x", headers={**OCTETS, **headers}).status_code == 404
    assert client.patch("/v1/uploads/..%2f..%2fdata", data=b"x", headers={**OCTETS, **headers}).status_code == 404
    assert send(client, CONTENT + b"x", 0).status_code == 413


def test_a_content_that_is_not_what_it_says_is_thrown_away(client: FlaskClient, volume: Any) -> None:
    ask(client)
    send(client, CONTENT[:1000], 0)

    wrong = send(client, b"\0" * (len(CONTENT) - 1000), 1000)

    assert (wrong.status_code, wrong.json["code"]) == (422, "other_content")
    assert client.get(URL).status_code == 404
    assert files(volume) == []
    assert place(ask(client)) == (201, "0", "?0")
    assert place(send(client, CONTENT, 0)) == (200, str(len(CONTENT)), "?1")


def test_one_who_was_wrong_about_the_size_is_no_obstacle(client: FlaskClient) -> None:
    ask(client, bytes=5)
    send(client, CONTENT[:3], 0)

    assert place(ask(client)) == (201, "0", "?0")
    assert place(send(client, CONTENT, 0))[2] == "?1"


def test_many_who_send_the_same_at_once_make_one_upload(app: Flask, volume: Any) -> None:
    here = context.of(app)
    at_once = threading.Barrier(6)
    uploads.begin(here.engine, volume, sha256=SHA256, size=len(CONTENT), name=None)

    def pieces(step: int):
        at_once.wait()
        for start in range(0, len(CONTENT), step):
            yield CONTENT[start : start + step]

    def one(number: int) -> uploads.Upload:
        if number == 0:
            return uploads.take(here.engine, volume, pieces(70_001), most=1 << 30, size=None)[0]
        return uploads.append(here.engine, volume, SHA256, offset=0, pieces=pieces(10_007 * number))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(6)))

    assert {upload.complete for upload in found} == {True}
    assert files(volume) == [f"uploads/{SHA256[:2]}/{SHA256}"]
    with store.open_data(volume, f"sha256:{SHA256}") as file:
        assert file.read() == CONTENT


def test_a_connection_that_breaks_leaves_what_arrived(address: tuple[str, int], client: FlaskClient) -> None:
    ask(client)

    def broken():
        yield CONTENT[:300_000]
        raise ConnectionError

    headers = {**OCTETS, "Upload-Offset": "0", "Content-Length": str(len(CONTENT))}
    with pytest.raises(ConnectionError), httpx2.Client(base_url=f"http://{address[0]}:{address[1]}") as far:
        far.patch(URL, content=broken(), headers=headers)
    pause = threading.Event()
    while (there := int(client.head(URL).headers["Upload-Offset"])) < 300_000:
        pause.wait(0.01)

    assert there == 300_000
    assert place(send(client, CONTENT[there:], there))[2] == "?1"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_client_that_falls_silent_is_not_waited_for(
    address: tuple[str, int], client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SILENCE_S", 0.2)
    ask(client)
    silent = http.client.HTTPConnection(*address, timeout=30)
    silent.putrequest("PATCH", URL)
    for name, value in {**OCTETS, "Upload-Offset": "0", "Content-Length": str(len(CONTENT))}.items():
        silent.putheader(name, value)
    silent.endheaders(CONTENT[:300_000])

    assert silent.getresponse().status == 400
    silent.close()
    assert int(client.head(URL).headers["Upload-Offset"]) >= body.PIECE


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_volume_that_fills_up_keeps_what_arrived(
    client: FlaskClient, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(client)
    send(client, CONTENT[:1000], 0)
    monkeypatch.setattr(incoming, "RESERVE", 1 << 60)
    monkeypatch.setattr(incoming, "LOOK_BYTES", 500_000)

    for full in (send(client, CONTENT[1000:], 1000), client.post("/v1/uploads", data=CONTENT, headers=OCTETS)):
        assert (full.status_code, full.json["code"]) == (507, "disk_full")

    there = int(client.head(URL).headers["Upload-Offset"])
    assert 1000 < there < 500_000
    monkeypatch.setattr(incoming, "RESERVE", 0)
    assert place(send(client, CONTENT[there:], there))[2] == "?1"
    assert [path for path in files(volume) if path.endswith(".part")] == []


def test_a_damaged_or_vanished_file_is_found_out_and_comes_anew(client: FlaskClient, volume: Any) -> None:
    client.post("/v1/uploads", data=CONTENT, headers=OCTETS)
    path = volume / store.upload_path(SHA256)
    for damage in (b"", b"\0" * len(CONTENT), None):
        path.unlink() if damage is None else path.write_bytes(damage)
        if damage:
            # The size is right: who reads it finds out.
            with pytest.raises(BadData, match="was damaged on the volume"):
                store.open_data(volume, f"sha256:{SHA256}")
        assert place(client.head(URL))[2] == "?0"
        assert send(client, CONTENT, 0).status_code == 404
        assert place(ask(client)) == (201, "0", "?0")
        assert place(send(client, CONTENT, 0))[2] == "?1"


def test_what_arrived_whole_before_a_death_is_finished_by_the_next_question(client: FlaskClient, volume: Any) -> None:
    ask(client)
    there = Incoming(volume, SHA256, len(CONTENT))
    there.add(0, CONTENT)

    assert place(ask(client)) == (200, str(len(CONTENT)), "?1")

    # The file has its name, and its row was not written any more.
    client.delete(URL)
    ask(client)
    there.add(0, CONTENT)
    there.place()
    assert client.get(URL).json["complete"] is False
    assert place(ask(client)) == (200, str(len(CONTENT)), "?1")


def npz(spec: dict[str, Any], ref: str) -> dict[str, Any]:
    return {**spec, "data": {"train": {"npz": ref}}}


def test_a_job_needs_its_uploads_until_it_has_ended(
    client: FlaskClient, spec: dict[str, Any], worker: Any, volume: Any
) -> None:
    ref = f"sha256:{SHA256}"
    refused = client.post("/v1/jobs", json=npz(spec, ref))
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/data/train/npz")
    assert "fitq upload" in refused.json["detail"]
    malformed = client.post("/v1/jobs", json=npz(spec, "sha256:../../etc/passwd"))
    assert (malformed.status_code, malformed.json["errors"][0]["pointer"]) == (422, "/data/train/npz")
    assert "64 digits" in malformed.json["detail"]
    ask(client)
    send(client, CONTENT[:10], 0)
    assert client.post("/v1/jobs", json=npz(spec, ref)).status_code == 422
    send(client, CONTENT[10:], 10)

    job = client.post("/v1/jobs", json=npz(spec, ref)).json["id"]
    kept = client.delete(URL)
    assert (kept.status_code, job in kept.json["detail"]) == (409, True)
    attempt = worker.claim()
    assert client.delete(URL).status_code == 409
    worker.fail(attempt, Failure.BAD_DATA, "It is no .npz file.")
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 200
    assert client.delete(URL).status_code == 409
    client.post(f"/v1/jobs/{job}/cancel")

    assert client.delete(URL).status_code == 204
    assert client.delete(URL).status_code == 404
    assert files(volume) == []
    gone = client.post(f"/v1/jobs/{job}/retry")
    assert (gone.status_code, ref in gone.json["detail"]) == (409, True)


def test_of_a_submit_and_a_deletion_at_once_one_wins(app: Flask, spec: dict[str, Any], volume: Any) -> None:
    here = context.of(app)
    client = app.test_client()
    at_once = threading.Barrier(3)

    def submit() -> int:
        mine = app.test_client()
        at_once.wait()
        return mine.post("/v1/jobs", json=npz(spec, f"sha256:{SHA256}")).status_code

    def delete() -> int:
        at_once.wait()
        try:
            with db.write(here.engine) as connection:
                uploads.delete(connection, volume, SHA256)
        except Conflict:
            return 409
        return 204

    for _ in range(8):
        client.post("/v1/uploads", data=CONTENT, headers=OCTETS)
        with ThreadPoolExecutor(3) as pool:
            doing = [pool.submit(submit), pool.submit(submit), pool.submit(delete)]
            submitted, deleted = sorted(one.result() for one in doing[:2]), doing[2].result()

        # Whoever was told that a job will run has an upload to run it on.
        assert (201 in submitted) == (deleted == 409)
        assert client.get(URL).status_code == (404 if deleted == 204 else 200)
        for one in client.get("/v1/jobs?state=queued").json["data"]:
            client.post(f"/v1/jobs/{one['id']}/cancel")
