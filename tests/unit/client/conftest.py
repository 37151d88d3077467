"""A small HTTP server that speaks the API's contract, with faults on demand."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from fitq import connection, follow

TERMINAL = {"succeeded", "failed", "cancelled"}


class FakeApi:
    """Jobs and events in memory. `faults` holds what the next requests get: a status, "drop" or "cut"."""

    def __init__(self):
        self.jobs = {}
        self.events = {}
        self.results = {}
        self.by_key = {}
        self.metrics = {}
        self.logs = {}
        self.files = {}
        self.attempts = {}
        self.faults = []
        self.answer_when_waited = None
        self.streams_refused = False
        self.requests = []
        self.streams = []
        self.changed = threading.Condition()
        self.closing = False

    # --- what tests do ---

    def add(self, number=1, *, spec=None, **values):
        job_id = f"job_0193a2c4-7a3e-7c51-b2f0-{number:012x}"
        spec = spec or {"kind": "train", "fit": {"epochs": 3}}
        job = {"object": "job", "id": job_id, "kind": spec.get("kind", "train"), "name": spec.get("name")}
        job |= {"state": "queued", "attempt": 0, "progress": None, "queue_position": 0}
        job |= {"waiting_reason": "It is next: a slot is about to take it.", "error": None, "worker": None}
        job |= {
            "lane": "cpu",
            "priority": spec.get("priority", 0),
            "seed": 7,
            "tags": spec.get("tags", {}),
            "spec": spec,
        }
        job |= {"created_at": "2026-01-01T00:00:00Z", "queued_at": "2026-01-01T00:00:00Z"}
        job |= {"started_at": None, "finished_at": None} | values
        with self.changed:
            self.jobs[job_id] = job
            self.events[job_id] = []
            self._append(job_id, "state", {"state": "queued"})
        return job_id

    def emit(self, job_id, kind, data=None, **changes):
        with self.changed:
            self.jobs[job_id] |= changes
            self._append(job_id, kind, data or {})
            self.changed.notify_all()

    def run(self, job_id, attempt=1):
        self.emit(job_id, "state", {"state": "running", "attempt": attempt}, state="running", attempt=attempt)

    def epoch(self, job_id, epoch, **metrics):
        self.emit(job_id, "epoch", {"epoch": epoch, "attempt": 1, "metrics": metrics})
        rows = self.metrics.setdefault(job_id, [])
        rows += [{"epoch": epoch, "name": k, "value": v, "value_kind": "finite"} for k, v in metrics.items()]

    def end(self, job_id, state, *, value=None, error=None):
        if value is not None:
            self.results[job_id] = {"value": value, "attempt": 1}
        times = {"started_at": "2026-01-01T00:00:01Z", "finished_at": "2026-01-01T00:00:05Z", "error": error}
        self.emit(job_id, "state", {"state": state, "attempt": 1}, state=state, **times)

    def progress(self, job_id, **progress):
        with self.changed:
            self.jobs[job_id]["progress"] = progress
            self.events[job_id].append({"type": "progress", "attempt": 1, "data": progress})
            self.changed.notify_all()

    def sent(self, method, ending):
        return [one for one in self.requests if one[0] == method and one[1].split("?")[0].endswith(ending)]

    def _append(self, job_id, kind, data):
        seq = sum("seq" in one for one in self.events[job_id]) + 1
        self.events[job_id].append({"seq": seq, "type": kind, "at": "2026-01-01T00:00:00Z", "data": data})

    # --- what the server answers: (status, JSON or text) ---

    def answer(self, method, path, query, headers, body):
        parts = path.strip("/").split("/")
        if path == "/v1/jobs:check":
            return 200, {"parameters": 1234, "memory_mb": 300, "disk_bytes": 7_312_824, "output_shape": [None, 10]}
        if path == "/v1/workers":
            return 200, self._list([self.worker()])
        if path == "/v1/jobs":
            return self._submit(headers, body) if method == "POST" else self._page(query)
        if parts[:2] == ["v1", "jobs"] and parts[2] in self.jobs:
            return self._job(method, parts[2], parts[3:], query, body)
        return self.problem(404, "not_found", f"There is no job {path}.")

    def worker(self):
        known = {"name": "w1", "host": "h", "pid": 1, "lanes": ["cpu"], "slots": 2, "state": "ready"}
        return known | {"free_memory_mb": 900, "version": "0.1.0", "seen_at": "2026-01-01T00:00:00Z"}

    def problem(self, status, code, detail, errors=()):
        said = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
        return status, said | {"errors": list(errors), "request_id": "req_1"}

    def _submit(self, headers, spec):
        if "model" not in spec:
            wrong = [{"pointer": "/model", "detail": "field required"}, {"parameter": "x", "detail": "is wrong"}]
            return self.problem(422, "bad_spec", "/model: field required", wrong)
        key = headers.get("Idempotency-Key")
        if key in self.by_key:
            return 200, self.jobs[self.by_key[key]]
        self.by_key[key] = self.add(len(self.jobs) + 1, spec=spec)
        job = self.jobs[self.by_key[key]]
        if self.answer_when_waited and "Prefer" in headers:
            job |= {"state": "succeeded", "result": self.answer_when_waited}
        return 201, job

    def _page(self, query):
        found = sorted(self.jobs.values(), key=lambda job: job["id"], reverse=True)
        found = [job | {"spec": None} for job in found if job["state"] in query.get("state", [job["state"]])]
        found = [
            job
            for job in found
            if all(job["tags"].get(t.split(":")[0]) == t.split(":")[1] for t in query.get("tag", []))
        ]
        start = int(query.get("cursor", ["0"])[0])
        end = start + int(query.get("limit", ["50"])[0])
        return 200, self._list(found[start:end], has_more=end < len(found), next_cursor=str(end))

    def _list(self, data, **more):
        return {"object": "list", "data": data, "has_more": False} | more

    def _job(self, method, job_id, rest, query, body):  # noqa: C901 - one line for each address
        job = self.jobs[job_id]
        match method, rest:
            case "GET", []:
                return 200, job
            case "POST", ["cancel"]:
                if job["state"] in TERMINAL:
                    return self.problem(409, "conflict", f"Job {job_id} has {job['state']} already.")
                job["cancel_requested"] = body["mode"]
                return 200, job
            case "POST", ["retry"]:
                job["state"] = "queued"
                return 200, job
            case "GET", ["metrics"]:
                return 200, self._list(self.metrics.get(job_id, []))
            case "GET", ["history"]:
                return 200, {"loss": [0.5, None]}
            case "GET", ["logs"]:
                return 200, self.logs.get((job_id, query.get("attempt", [None])[0]), "")
            case "GET", ["attempts"]:
                return 200, self._list(self.attempts.get(job_id, []))
            case "GET", ["checkpoints"]:
                return 200, self._list([{"name": "epoch-1", "epoch": 2, "step": 20, "bytes": 5, "is_best": True}])
            case "GET", ["checkpoints" | "artifacts", name, "content"] if name in self.files:
                return 200, self.files[name]
            case "GET", ["result"]:
                if job_id not in self.results:
                    return self.problem(409, "conflict", f"Job {job_id} is {job['state']}: there is no result.")
                return 200, self.results[job_id]
            case "GET", ["events"]:
                after = int(query["after"][0])
                return 200, self._list([one for one in self.events[job_id] if one.get("seq", 0) > after])
        return self.problem(404, "not_found", "There is no such thing.")


class Handler(BaseHTTPRequestHandler):
    """HTTP for a `FakeApi`, which is the server's `api`."""

    def do_GET(self):
        self.handle_one("GET")

    def do_POST(self):
        self.handle_one("POST")

    def handle_one(self, method):
        api, parts = self.server.api, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        streams = "text/event-stream" in self.headers.get("Accept", "")
        api.requests.append((method, self.path, dict(self.headers), body))
        fault = api.faults.pop(0) if api.faults else None
        if fault == "drop":
            # The request was heard, but its answer is lost.
            api.answer(method, parts.path, parse_qs(parts.query), self.headers, json.loads(body or b"{}"))
            self.close_connection = True
            return
        if fault == "cut":
            # Half of the answer comes.
            _, said = api.answer(method, parts.path, parse_qs(parts.query), self.headers, {})
            self._send(200, said[: len(said) // 2], length=len(said))
            self.close_connection = True
            return
        if streams and not fault and not api.streams_refused:
            self._stream(api, parts.path.split("/")[3])
            return
        if streams and not fault:
            fault = 503
        with api.changed:
            answer = (
                (0, "")
                if fault
                else api.answer(method, parts.path, parse_qs(parts.query), self.headers, json.loads(body or b"{}"))
            )
        status, said = api.problem(fault, "unavailable", "The server is busy.") if fault else answer
        self._send(status, said)

    def _send(self, status, said, length=None):
        kind = "application/json" if isinstance(said, dict | list) else "text/plain"
        data = said if isinstance(said, bytes) else (json.dumps(said) if kind.endswith("json") else said).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, api, job_id):
        last = int(self.headers["Last-Event-ID"])
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"retry: 1000\n\n")
            api.streams.append(self.connection)
            done = 0
            while not api.closing:
                with api.changed:
                    new = [one for one in api.events[job_id][done:] if one.get("seq", last + 1) > last]
                    done = len(api.events[job_id])
                    ended = api.jobs[job_id]["state"] in TERMINAL
                    if not new and not ended:
                        api.changed.wait(0.05)
                        continue
                for one in new:
                    number = f"id: {one['seq']}\n" if "seq" in one else ""
                    self.wfile.write(f"{number}event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode())
                if ended:
                    return

    def log_message(self, *args):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that left is no error."""


@pytest.fixture
def server(monkeypatch) -> Iterator[FakeApi]:
    """A running `FakeApi` that FITQ_URL names; retries and polls do not wait long."""
    api = FakeApi()
    http = Server(("127.0.0.1", 0), Handler)
    http.api = api
    http.block_on_close = True
    http.daemon_threads = False
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    api.url = f"http://127.0.0.1:{http.server_address[1]}"
    monkeypatch.setenv("FITQ_URL", api.url)
    monkeypatch.delenv("FITQ_API_KEY", raising=False)
    monkeypatch.setattr(connection, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(follow, "LOOK_S", 0.05)
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    yield api
    api.closing = True
    http.shutdown()
    thread.join()
    http.server_close()
