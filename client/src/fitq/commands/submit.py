"""`fitq submit`: a file becomes a job."""

from typing import Any

import click

from fitq import specfile
from fitq.commands import arguments, sending


@click.command(short_help="Queue the job in a JSON or YAML file.")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--check", is_flag=True, help="Only say what the job would need; queue nothing.")
@click.option("--watch", is_flag=True, help="Follow the job to its end.")
@click.option("--name", help="Name the job, whatever the file says.")
@click.option("--priority", type=click.IntRange(-100, 100), help="One point is worth ten minutes of waiting.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=arguments.tags, help="Add a tag; repeatable."
)
@click.option("--idempotency-key", metavar="KEY", help="Under the same key, the same job is queued only once.")
@arguments.timeout
@arguments.output
def submit(
    file: str,
    *,
    check: bool,
    watch: bool,
    name: str | None,
    priority: int | None,
    tags: dict[str, str],
    idempotency_key: str | None,
    timeout: float | None,
    output: str,
) -> None:
    """Queue the job in FILE (JSON or YAML; - reads standard input).

    Where the job names data or a model's file, `file:PATH` is one of this machine, relative to FILE: it is
    uploaded, as are folders of images. So submit no job whose author you do not trust with your files.

    Prints the job's id. What is printed means: this job will run.
    """
    spec = changed(specfile.load(file), name=name, priority=priority, tags=tags)
    how = sending.How(check=check, watch=watch, timeout_s=timeout, output=output, idempotency_key=idempotency_key)
    sending.deliver(spec, specfile.folder(file), file, how)


def changed(spec: dict[str, Any], *, name: str | None, priority: int | None, tags: dict[str, str]) -> dict[str, Any]:
    """Return the job with what the command line says about it."""
    asked: dict[str, Any] = {key: value for key, value in (("name", name), ("priority", priority)) if value is not None}
    known = spec.get("tags", {})
    if tags and isinstance(known, dict):
        asked["tags"] = {**known, **tags}
    return {**spec, **asked}
