"""The queue and its jobs: what a program does with a fitq server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fitq import calls, downloads, errors, pull, uploads
from fitq.connection import DEFAULT_URL, Connection, path
from fitq.follow import TERMINAL, Event, Following
from fitq.ids import candidates, is_whole
from fitq.logtail import LogPart, LogTail
from fitq.uploads import Progress, Source

if TYPE_CHECKING:
    from keras.callbacks import History  # noqa: F401 - the type of what `fit` returns

    from fitq.submit import Submit

#: Jobs that an ambiguous id lists.
_LISTED = 5
#: Jobs of one page, and recent jobs among which a shortened id is looked for.
PAGE = 100
RECENT = 500

Spec = Mapping[str, Any]


def connect(url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> "Queue":
    """Return the queue of a server. Nothing is sent yet.

    `url` defaults to FITQ_URL or http://127.0.0.1:8080, `api_key` to FITQ_API_KEY (or none);
    `timeout_s` is how long one answer may take.
    """
    url = url or os.environ.get("FITQ_URL") or DEFAULT_URL  # noqa: TID251 - a client has no settings.py
    key = api_key or os.environ.get("FITQ_API_KEY", "").strip() or None  # noqa: TID251 - as above
    return Queue(Connection(url, api_key=key, timeout_s=timeout_s))


class Queue(calls.Calls["History", Any, Any]):
    """A fitq server's queue of jobs.

    `fit`, `evaluate` and `predict` are Keras's, and wait for their outcome; `submit` takes the same calls, or a spec,
    and returns the job.
    """

    def __init__(self, connection: Connection) -> None:
        """Take the way to the server; `connect` makes one."""
        self._connection = connection

    def __enter__(self) -> Self:
        """Hold the connection."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @property
    def submit(self) -> "Submit":
        """What queues jobs: `submit(spec)`, or `submit.fit(model, …)`, `.evaluate` and `.predict` as Keras has them."""
        from fitq.submit import Submit

        return Submit(self, self._connection)

    def _take(self, call: calls.Call) -> Any:
        from fitq.local import waiting

        return waiting.outcome(self, call)

    def upload(self, source: Source, *, name: str | None = None, progress: Progress | None = None) -> str:
        """Bring a file, bytes or an open file's rest to the server; return how a spec names it, `sha256:…`.

        What the server has is not sent again, and what broke off goes on where it was, now or at the next
        call. `progress` is told bytes that arrived and bytes in all. Raise `BadUpload` when it cannot be read.
        """
        return uploads.upload(self._connection, source, name=name, progress=progress)

    def uploads(self) -> Iterator[dict[str, Any]]:
        """Yield what was uploaded, the newest first."""
        cursor: dict[str, str] = {}
        while True:
            page = self._connection.get(path("uploads"), {"limit": str(PAGE), **cursor})
            yield from page["data"]
            if not page["has_more"]:
                return
            cursor = {"cursor": page["next_cursor"]}

    def check(self, spec: Spec) -> dict[str, Any]:
        """Return what a job would need, and queue nothing."""
        needs: dict[str, Any] = self._connection.post("/v1/jobs:check", dict(spec))
        return needs

    def convert(self, architecture: Mapping[str, Any] | str) -> dict[str, Any]:
        """Return an architecture that any Keras wrote in Keras 3's terms: `{"architecture": …, "changes": […]}`.

        `architecture` is the object, or its text: JSON, YAML, a Python literal. Raise `BadSpec` naming what cannot be.
        """
        given = architecture if isinstance(architecture, str) else dict(architecture)
        made: dict[str, Any] = self._connection.post("/v1/models:convert", {"architecture": given})
        return made

    def job(self, job_id: str) -> "Job":
        """Return a job by its id; raise `NotFound`."""
        return Job(self._connection, self._connection.get(path("jobs", job_id)))

    def find(self, text: str) -> "Job":
        """Return a job by its id, or by the beginning or the last 6 or more characters of a recent one's.

        Raise `AmbiguousId` when several match, `NotFound` when none does.
        """
        if is_whole(text):
            return self.job(text)
        found = candidates(text, list(self.jobs(limit=RECENT)), key=lambda job: job.id)
        if not found:
            raise errors.NotFound(f"There is no job '{text}' (of the newest {RECENT}).", status=404)
        if len(found) > 1:
            lines = [f"  {job.id}  {job.state}  {job.name or ''}".rstrip() for job in found[:_LISTED]]
            more = [f"  and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
            raise errors.AmbiguousId("\n".join([f"'{text}' may be any of {len(found)} jobs:", *lines, *more]))
        return self.job(found[0].id)

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        kind: str | None = None,
        name: str | None = None,
        lane: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator["Job"]:
        """Yield the jobs that match, the newest first; at most `limit`, page by page."""
        asked = [("state", state) for state in states]
        asked += [("tag", f"{key}:{value}") for key, value in (tags or {}).items()]
        asked += [(key, value) for key, value in (("kind", kind), ("name", name), ("lane", lane)) if value]
        cursor: list[tuple[str, str]] = []
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(PAGE, limit)
            page = self._connection.get(path("jobs"), [*asked, *cursor, ("limit", str(size))])
            yield from (Job(self._connection, one) for one in page["data"])
            if not page["has_more"]:
                return
            limit = None if limit is None else limit - len(page["data"])
            cursor = [("cursor", page["next_cursor"])]

    def workers(self) -> list[dict[str, Any]]:
        """Return the workers that are there."""
        found: list[dict[str, Any]] = self._connection.get(path("workers"))["data"]
        return found

    def queues(self) -> list[dict[str, Any]]:
        """Return the lanes and what waits in them."""
        found: list[dict[str, Any]] = self._connection.get(path("queues"))["data"]
        return found


class Job:
    """One job, as the server last described it in `data`; `refresh` asks again."""

    def __init__(self, connection: Connection, data: dict[str, Any]) -> None:
        """Take the way to the server and the job's JSON."""
        self._connection = connection
        self.data = data

    def __repr__(self) -> str:
        """Say which job it is and how it was."""
        return f"<Job {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.data["id"])

    @property
    def state(self) -> str:
        """The last known state: queued, running, succeeded, failed or cancelled."""
        return str(self.data["state"])

    @property
    def name(self) -> str | None:
        """The job's name, if it has one."""
        return self.data.get("name")

    @property
    def ended(self) -> bool:
        """Whether the job had ended when it was last described."""
        return self.state in TERMINAL

    def _path(self, *parts: str) -> str:
        return path("jobs", self.id, *parts)

    def refresh(self) -> Self:
        """Ask the server for the job as it is now."""
        self.data = self._connection.get(self._path())
        return self

    def events(self, *, after: int = 0, timeout_s: float | None = None) -> Iterator[Event]:
        """Yield the job's events behind number `after`, as they come, to the job's end.

        The last one is of type `job` and holds the job as it ended. Raise `WaitTimeout`.
        """
        for event in self.following(after=after, timeout_s=timeout_s):
            if event.type == "job":
                self.data = event.data
            yield event

    def following(self, *, after: int = 0, timeout_s: float | None = None) -> Following:
        """Return what yields the job's events, and can be stopped from another thread."""
        return Following(self._connection, self.id, after=after, timeout_s=timeout_s)

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait for the job's end, however it ends. Raise `WaitTimeout`; the job goes on then."""
        for _ in self.events(timeout_s=timeout_s):
            pass
        return self

    def watch(self, timeout_s: float | None = None) -> Self:
        """Show the job's life on stderr, as bars or lines, to its end, however it ends. Raise `WaitTimeout`."""
        from fitq.display import display
        from fitq.story import Story

        story = Story(self.data)
        with display([story]) as shown:
            for event in self.events(timeout_s=timeout_s):
                shown.show(story, story.hear(event))
        return self

    def load_into(self, model: Any, checkpoint: str = "final") -> Self:
        """Set a local model to one of the job's checkpoints: weights, random state, optimizer if it is compiled.

        `checkpoint` is `final`, `last`, `best` or an epoch's name. Nothing is set unless all of it fits the model.
        """
        from fitq.local import outcomes

        outcomes.load(self, model, checkpoint)
        return self

    def raise_for_state(self) -> Self:
        """Raise `JobFailed` or `JobCancelled` when the job has ended so."""
        if self.state == "failed":
            error = self.data.get("error") or {}
            raise errors.JobFailed(
                f"Job {self.id} failed: {error.get('message', 'without a reason')} ({error.get('code')})"
            )
        if self.state == "cancelled":
            raise errors.JobCancelled(f"Job {self.id} was cancelled.")
        return self

    def cancel(self, *, now: bool = False) -> Self:
        """Ask for the job's end: after its epoch, with a checkpoint; or at once. Raise `Conflict`."""
        body = {"mode": "now" if now else "after_epoch"}
        self.data = self._connection.post(self._path("cancel"), body)
        return self

    def retry(self) -> Self:
        """Queue a failed or cancelled job again, from its last checkpoint. Raise `Conflict`."""
        self.data = self._connection.post(self._path("retry"))
        return self

    def pause(self) -> Self:
        """Hold the job back; a running one saves a checkpoint and stops. `resume` lets it go on. Raise `Conflict`."""
        self.data = self._connection.post(self._path("pause"))
        return self

    def resume(self, *, epochs: int | None = None, name: str | None = None) -> "Job":
        """Let a paused job go on, or train on where an ended one stopped, as a new job; return the job that runs.

        `epochs` counts those that are done. Raise `Conflict`, or `Invalid` when nothing is left to train.
        """
        asked = {key: value for key, value in (("epochs", epochs), ("name", name)) if value is not None}
        return Job(self._connection, self._connection.post(self._path("resume"), asked))

    def save(self) -> Self:
        """Ask the running job for a checkpoint after its next step. Raise `Conflict`."""
        self.data = self._connection.post(self._path("checkpoint"))
        return self

    def delete(self) -> Self:
        """Delete the files of the ended job; its history stays. Raise `Conflict` while another job needs them."""
        self.data = self._connection.delete(self._path())
        return self

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows (epoch, name, value, value_kind): `value` is None when it was not finite."""
        rows: list[dict[str, Any]] = []
        since: int | None = 0
        while since is not None:
            page = self._connection.get(self._path("metrics"), {"since_epoch": str(since)})
            rows += page["data"]
            since = page.get("next_since_epoch") if page.get("has_more") else None
        return rows

    def history(self) -> dict[str, list[float | None]]:
        """Return what Keras's `History.history` holds: a list for each metric's name."""
        lists: dict[str, list[float | None]] = self._connection.get(self._path("history"))
        return lists

    def logs(self, *, tail: int | None = None, attempt: int | None = None) -> str:
        """Return what an attempt printed (the newest one's, unless told): the last `tail` lines of it."""
        asked = {"tail": tail, "attempt": attempt}
        return self._connection.text(self._path("logs"), {k: str(v) for k, v in asked.items() if v is not None})

    def follow_logs(self, *, tail: int | None = None, attempt: int | None = None) -> Iterator[LogPart]:
        """Yield what attempts print, as they print it, from that attempt on (or the newest) to the job's end."""
        yield from LogTail(self._connection, self.id, tail=tail, attempt=attempt)

    def result(self) -> dict[str, Any]:
        """Return what the job came to, its `value` and more; raise `Conflict` while there is none."""
        if self.data.get("result") is not None:
            return dict(self.data["result"])
        found: dict[str, Any] = self._connection.get(self._path("result"))
        return found

    def attempts(self) -> list[dict[str, Any]]:
        """Return the job's attempts, the first one first."""
        found: list[dict[str, Any]] = self._connection.get(self._path("attempts"))["data"]
        return found

    def artifacts(self) -> list[dict[str, Any]]:
        """Return the files that the job left, beside its checkpoints and its log."""
        found: list[dict[str, Any]] = self._connection.get(self._path("artifacts"))["data"]
        return found

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the job's checkpoints, the newest first."""
        found: list[dict[str, Any]] = self._connection.get(self._path("checkpoints"))["data"]
        return found

    def download_checkpoint(self, name: str, to: Path) -> None:
        """Write a checkpoint (by name, `final`, `last`, `best` or an epoch) to a file, whole or not at all.

        Raise `BadDownload` when it arrived otherwise than it left.
        """
        self._download(self._path("checkpoints", name, "content"), to)

    def download_artifact(self, name: str, to: Path) -> None:
        """Write another file that the job left (such as `logs/train.csv`) to a file, whole or not at all."""
        self._download(self._path("artifacts", *name.split("/"), "content"), to)

    def pull(
        self,
        as_: str = "keras",
        to: Path | str | None = None,
        *,
        checkpoint: str | int = "final",
        overwrite: bool = False,
        timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write the model that a train job left to a file, in a format, whole or not at all; return its path.

        `as_` is one of `fitq.pull.ENDINGS`, `checkpoint` `final`, `last`, `best` or an epoch from 0, `to` a file
        or, by default, one in this folder that is named for both. A worker writes the file when it is first
        asked for, which takes seconds. Raise `Conflict` while there is no such checkpoint, `NotFound` when it is
        gone, `Invalid` when the format cannot hold the model, `Misconfigured` when the file is there already.
        """
        target = Path(to) if to is not None else Path(f"{self.id}-{checkpoint}{pull.ENDINGS.get(as_, '')}")
        return pull.pull(
            self._connection,
            self.id,
            form=as_,
            checkpoint=str(checkpoint),
            to=target,
            overwrite=overwrite,
            timeout_s=timeout_s,
            progress=progress,
        )

    def _download(self, place: str, to: Path) -> None:
        with downloads.whole(to) as file:
            self._connection.download(place, file)
