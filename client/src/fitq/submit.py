"""Queueing jobs without waiting for them: a spec as it is, or one of Keras's calls."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fitq import errors
from fitq.calls import Call, Calls
from fitq.connection import Connection, path
from fitq.jobs import Job

if TYPE_CHECKING:
    from fitq.jobs import Queue


class Submit(Calls[Job, Job, Job]):
    """A queue's `submit`: call it with a spec, or call its `fit`, `evaluate` and `predict` as a model's."""

    def __init__(self, queue: "Queue", connection: Connection) -> None:
        """Take the queue and the way to its server."""
        self._queue = queue
        self._connection = connection

    def __call__(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None, wait_s: int = 0) -> Job:
        """Queue a job. When this returns, the job will run; with `wait_s` (60 at most) it may have run already.

        The server then answers at the job's end, if it comes in so many seconds, with the result in the
        same answer. A lost answer is asked for again under the same key, so that one call never makes
        two jobs. Raise `Invalid` with the wrong fields.
        """
        key = idempotency_key or str(uuid.uuid4())
        if not (key.isascii() and key.isprintable()):
            raise errors.Misconfigured("An idempotency key holds printable ASCII characters only.")
        answer = self._connection.post(path("jobs"), dict(spec), idempotency_key=key, wait_s=wait_s)
        return Job(self._connection, answer)

    def _take(self, call: Call) -> Job:
        from fitq.local import waiting

        return self(waiting.prepared(self._queue, call).spec)
