"""All HTTP: one client, its time-outs and second tries, and the server's problems as exceptions.

A GET, and a POST with an Idempotency-Key, is sent again when the answer is lost; any other request
only when it cannot have reached the server.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import httpx2

import fitq
from fitq import errors

#: Where `fitq up` listens unless told otherwise.
DEFAULT_URL = "http://127.0.0.1:8080"
#: Seconds before the second, third and fourth try of a request.
RETRY_DELAYS_S = (0.1, 0.3, 0.9)
#: Seconds of silence after which an event stream counts as broken; the server pings every 15.
STREAM_SILENCE_S = 45.0

#: Statuses that a server, or a proxy before one, gives while it cannot serve for a moment.
_BUSY = frozenset({502, 503, 504})
#: Errors that say that the request never reached the server.
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

Params = Mapping[str, str] | list[tuple[str, str]] | None


class Stream:
    """An open event stream: iterate it; `abort` ends the iteration from another thread."""

    def __init__(self, connection: "Connection", source: httpx2.EventSource) -> None:
        """Wrap an open response."""
        self._connection = connection
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        """Yield each event's JSON; raise `NoServer` when the stream breaks."""
        if self._source.response.status_code == httpx2.codes.NO_CONTENT:
            return
        with self._connection.translated():
            for event in self._source:
                if event.data:
                    yield self._connection.decoded(event.data)

    def abort(self) -> None:
        """Make the reader's blocked read return at once."""
        network = self._source.response.extensions.get("network_stream")
        open_socket = network.get_extra_info("socket") if network is not None else None
        if open_socket is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)


class Connection:
    """The way to one fitq server. Safe to share between threads."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        """Take the server's URL; nothing is sent yet."""
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers=_headers(api_key),
            timeout=httpx2.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            # A proxy from the environment has no way to this machine's own loopback.
            trust_env=_host(url) not in {"localhost", "127.0.0.1", "::1"},
        )

    def close(self) -> None:
        """Close the open sockets."""
        self._client.close()

    def get(self, path: str, params: Params = None) -> Any:
        """Return the JSON at a path."""
        return self.decoded(self._send("GET", path, params=params, repeatable=True).text)

    def text(self, path: str, params: Params = None) -> str:
        """Return the text at a path."""
        headers = {"Accept": "text/plain, application/problem+json"}
        return self._send("GET", path, params=params, headers=headers, repeatable=True).text

    def post(self, path: str, body: Any = None, *, idempotency_key: str | None = None, wait_s: int = 0) -> Any:
        """Send JSON and return the JSON that answers it, which the server may hold back for `wait_s` seconds."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        repeatable = idempotency_key is not None
        answer = self._send("POST", path, body=body, headers=headers, repeatable=repeatable, wait_s=wait_s)
        return self.decoded(answer.text)

    def ask(self, path: str, body: Any, *, wait_s: float) -> Any:
        """Send JSON that does no harm twice, and return the JSON that answers it, which may take `wait_s` longer."""
        return self.decoded(self._send("POST", path, body=body, repeatable=True, wait_s=wait_s).text)

    def append(self, path: str, pieces: Iterable[bytes], *, offset: int, length: int, wait_s: float) -> Any:
        """Send a part of an upload once, and return the JSON that answers it, which may take `wait_s` longer."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        headers["Upload-Offset"] = str(offset)
        with self.translated():
            timeout = self._patience(wait_s)
            response = self._client.request("PATCH", path, content=pieces, headers=headers, timeout=timeout)
        self._check(response)
        return self.decoded(response.text)

    def _patience(self, wait_s: float) -> httpx2.Timeout:
        """Return the usual time-outs, with so many seconds more for an answer."""
        usual = self._client.timeout
        return httpx2.Timeout(usual.write, connect=usual.connect, read=(usual.read or 0) + wait_s)

    def delete(self, path: str) -> Any:
        """Delete what is at a path and return the JSON that answers it."""
        return self.decoded(self._send("DELETE", path, repeatable=True).text)

    def download(
        self,
        path: str,
        file: BinaryIO,
        params: Params = None,
        *,
        headers: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> bool:
        """Write the bytes at a path to an empty file; return False when they are not there yet (202).

        What breaks off is asked for again, from its beginning. Raise `BadDownload` unless the bytes' SHA-256 is the
        announced one.
        """
        for delay in (*RETRY_DELAYS_S, None):
            try:
                return self._written(path, file, params, headers, progress)
            except (errors.NoServer, errors.Unavailable):
                if delay is None:
                    raise
            file.seek(0)
            file.truncate()
            time.sleep(delay)
        raise AssertionError("the last try returns or raises")

    def _written(
        self,
        path: str,
        file: BinaryIO,
        params: Params,
        headers: Mapping[str, str] | None,
        progress: Callable[[int, int], None] | None,
    ) -> bool:
        digest = hashlib.sha256()
        with (
            self.translated(),
            self._client.stream("GET", path, params=_pairs(params), headers=headers) as response,
        ):
            self._check(response)
            if response.status_code == httpx2.codes.ACCEPTED:
                return False
            done, total = 0, int(response.headers.get("Content-Length", 0))
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        told = re.search(r"sha-256=:([^:]*):", response.headers.get("Repr-Digest", ""))
        if told and told[1] != base64.b64encode(digest.digest()).decode():
            raise errors.BadDownload
        return True

    @contextmanager
    def stream(self, path: str, *, after: int | None = None, params: Params = None) -> Iterator[Stream]:
        """Open an event stream, behind event number `after` if there is one."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        usual = self._client.timeout
        timeout = httpx2.Timeout(usual.write, connect=usual.connect, read=STREAM_SILENCE_S)
        with (
            self.translated(),
            self._client.sse(path, params=_pairs(params), headers=headers, timeout=timeout) as source,
        ):
            self._check(source.response)
            yield Stream(self, source)

    def _send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        params: Params = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0,
    ) -> httpx2.Response:
        patience = self._patience(wait_s)
        for delay in (*RETRY_DELAYS_S, None):
            try:
                response = self._client.request(
                    method, path, params=_pairs(params), json=body, headers=headers, timeout=patience
                )
            except httpx2.RequestError as error:
                if delay is None or not (repeatable or isinstance(error, _NEVER_SENT)):
                    raise self._no_server(error) from error
            else:
                if delay is None or not repeatable or response.status_code not in _BUSY:
                    self._check(response)
                    return response
            time.sleep(delay)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn a broken transport into `NoServer`."""
        try:
            yield
        except httpx2.RequestError as error:
            raise self._no_server(error) from error

    def _no_server(self, error: httpx2.RequestError) -> errors.NoServer:
        if isinstance(error, httpx2.ConnectError):
            why = "" if "refused" in str(error) else f" ({error})"
            return errors.NoServer(
                f"No fitq server answers at {self.url}. Start one with `fitq up`, or set FITQ_URL.{why}"
            )
        if isinstance(error, httpx2.TimeoutException):
            return errors.NoServer(f"The server at {self.url} does not answer in time.")
        return errors.NoServer(f"The connection to {self.url} broke: {error}")

    def decoded(self, text: str) -> Any:
        """Return the JSON in `text`; whoever says something else is no fitq server."""
        try:
            return json.loads(text)
        except ValueError as error:
            raise errors.NoServer(f"What answers at {self.url} is no fitq server. Check FITQ_URL.") from error

    def _check(self, response: httpx2.Response) -> None:
        """Raise the problem that an answer holds, if it holds one."""
        if response.is_success:
            return
        response.read()
        kind = errors.problem_class(response.status_code)
        try:
            said = response.json()
        except ValueError:
            said = None
        if not isinstance(said, dict) or not ("detail" in said or "title" in said):
            said = {"detail": f"{self.url} answered {response.status_code} {response.reason_phrase}, without a reason."}
        raise kind(
            str(said.get("detail") or said["title"]),
            status=response.status_code,
            code=said.get("code"),
            fields=tuple(_fields(said.get("errors"))),
            request_id=said.get("request_id"),
        )


def _pairs(params: Params) -> tuple[tuple[str, str], ...]:
    return tuple(params.items() if isinstance(params, Mapping) else params or [])


def _host(url: str) -> str:
    """Return a URL's host; raise `Misconfigured` when it is no HTTP URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise errors.Misconfigured(f"'{url}' is no URL of a fitq server; one looks like {DEFAULT_URL}.")


def _headers(api_key: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"fitq/{fitq.__version__}"}
    if api_key:
        if not (api_key.isascii() and api_key.isprintable()):
            raise errors.Misconfigured("FITQ_API_KEY holds characters that no key has.")
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def _fields(said: Any) -> Iterator[errors.FieldProblem]:
    for one in said if isinstance(said, list) else []:
        if isinstance(one, dict):
            place = one.get("pointer") or one.get("parameter") or ""
            yield errors.FieldProblem(str(place), str(one.get("detail", "")))


def path(*parts: str) -> str:
    """Return an API path; no part can leave its place in it."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)
