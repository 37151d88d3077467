"""A job on its way to the server: local files go first, then it is checked, queued, waited for or followed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fitq import terminal, text
from fitq.commands import arguments, flags
from fitq.commands.flags import Flag
from fitq.commands.upload import bar
from fitq.commands.watch import follow
from fitq.errors import Invalid
from fitq.jobs import Job
from fitq.localfiles import LocalFiles

#: Seconds that the submit of a job other than training waits for its end: the answer may be its result.
WAIT_S = 2


@dataclass(frozen=True)
class How:
    """What becomes of a job: it is only checked, or queued and perhaps followed to its end."""

    check: bool
    watch: bool
    timeout_s: float | None
    output: str
    idempotency_key: str | None = None


def deliver(spec: Mapping[str, Any], folder: Path, file: str | None, how: How, given: Sequence[Flag] = ()) -> None:
    """Upload the job's local files; then check it, or queue it and print its id, or follow it to its end."""
    if how.check and how.watch:
        raise click.UsageError("--check queues nothing that --watch could follow.")
    spec = uploaded(spec, folder, file)
    if how.check:
        _check(spec, how.output, given)
        return
    wait_s = WAIT_S if how.watch and spec.get("kind") != "train" else 0
    job = queued(spec, given, key=how.idempotency_key, wait_s=wait_s)
    if how.watch:
        follow(job, output=how.output, timeout_s=how.timeout_s)
    elif how.output == "json":
        terminal.json(job.data)
    else:
        terminal.data(job.id)
        if sys.stderr.isatty():
            terminal.say(f"Follow it with `fitq watch {job.id}`, or end it with `fitq cancel {job.id}`.")


def uploaded(spec: Mapping[str, Any], folder: Path, file: str | None) -> dict[str, Any]:
    """Return the job with uploads for its local files (`file:PATH`)."""

    def upload(path: Path) -> str:
        terminal.say(f"Uploading {path.name} ({text.size(path.stat().st_size)})")
        with bar(path.name) as progress:
            return arguments.queue().upload(path, progress=progress)

    try:
        return LocalFiles(folder, upload, file or "the command line").sent(spec)
    except KeyboardInterrupt:
        terminal.say("Nothing was queued. What has arrived stays: the same command goes on from there.")
        raise


def _check(spec: Mapping[str, Any], output: str, given: Sequence[Flag]) -> None:
    try:
        needs = arguments.queue().check(spec)
    except Invalid as error:
        raise flags.placed(error, given) from error
    if output == "json":
        terminal.json(needs)
    else:
        sizes = {name: text.size(value) for name, value in needs.items() if name.endswith("_bytes")}
        terminal.fields(text.flat(needs | sizes))


def queued(spec: Mapping[str, Any], given: Sequence[Flag] = (), *, key: str | None = None, wait_s: int = 0) -> Job:
    """Queue the job. What the server refuses is told by the flags that said it."""
    try:
        return arguments.queue().submit(spec, idempotency_key=key, wait_s=wait_s)
    except Invalid as error:
        raise flags.placed(error, given) from error
    except KeyboardInterrupt:
        terminal.say("The job was just being queued: `fitq jobs` shows whether it was.")
        raise
