"""`fitq init`: a commented job to begin with."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import click

from fitq import ids, terminal
from fitq.commands import arguments
from fitq.errors import FitqError, NoServer
from fitq.jobs import Job

#: What stands in the files for a train job's id, and for its data.
_JOB, _SOURCE = "JOB_ID", "SOURCE"
#: The data of a job that has none yet.
_DIGITS = {"dataset": "digits", "split": "test"}
#: Rows that a first prediction takes.
_ROWS = [0, 5]

_EXAMPLES = """\b
Examples:
  fitq init -o job.yaml
  fitq submit job.yaml --watch
"""


@click.command(short_help="Write a commented job to begin with.", epilog=_EXAMPLES)
@click.argument("kind", type=click.Choice(["train", "evaluate", "predict"]), default="train")
@click.option("--job", metavar="ID", help="The train job whose model it takes. [default: the newest that succeeded]")
@click.option(
    "-o", "--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Where to. [default: stdout]"
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def init(kind: str, *, job: str | None, output_file: Path | None, force: bool) -> None:
    """Write a job of a KIND (train, unless told) with comments, that `fitq submit` takes as it is."""
    if kind == "train" and job is not None:
        raise click.UsageError("--job is for evaluate and predict, which take a trained model.")
    text = (resources.files("fitq") / "starters" / f"{kind}.yaml").read_text(encoding="utf-8")
    if kind != "train":
        text = _filled(text, kind, arguments.find(job) if job is not None else _newest())
    if output_file is None:
        terminal.data(text)
        return
    try:
        with output_file.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise FitqError(f"{output_file} is there already; --force replaces it.") from error
    except OSError as error:
        raise FitqError(f"{output_file}: {error.strerror}.") from error
    terminal.say(f"Wrote {output_file}. Queue it with `fitq submit {output_file} --watch`.")


def _newest() -> Job | None:
    """Return the newest train job that has succeeded, or None, saying so."""
    try:
        here = arguments.queue()
        found = next(here.jobs(states=["succeeded"], kind="train", limit=1), None)
        # A list leaves the specs out.
        newest = here.job(found.id) if found is not None else None
    except NoServer:
        newest = None
    if newest is None:
        terminal.say(f"There is no train job that has succeeded: put one's id where {_JOB} stands.")
    else:
        terminal.say(f"It takes the model of {ids.short(newest.id)} {newest.name or ''}".rstrip() + ".")
    return newest


def _filled(text: str, kind: str, job: Job | None) -> str:
    if job is not None:
        text = text.replace(_JOB, job.id, 1)
    return text.replace(_SOURCE, json.dumps(_source(kind, job)), 1)


def _source(kind: str, job: Job | None) -> dict[str, Any]:
    """Return data that fits the job's model: what it was trained on, of a data set the test part."""
    spec = (job.data.get("spec") or {}) if job is not None else {}
    source = dict((spec.get("data") or {}).get("train") or _DIGITS)
    if "dataset" in source:
        source = {**source, "split": "test"}
        source.pop("rows", None)
        if kind == "predict":
            source["rows"] = _ROWS
    return source
