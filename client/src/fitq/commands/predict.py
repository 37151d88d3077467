"""`fitq predict`: what a model says of data, from flags, or from a file that they override."""

from pathlib import Path
from typing import Any

import click

from fitq import exits, terminal
from fitq.commands import arguments, flags, sending, watch
from fitq.commands.described import Description
from fitq.commands.flags import JOB, PREDICT, SCALE, SOURCE, Flag
from fitq.errors import FitqError
from fitq.jobs import Job

_MODEL = Flag("MODEL", ("model",), "")
_DATA = Flag("--data", ("data", "input"), "What the model predicts: see above.", metavar="DATA")
_SAMPLE = Flag(
    "--sample", ("data", "input", "sample"), "One sample, as JSON without a batch axis.", flags.Value(), "JSON"
)
_NAMES = Flag("--class-names", ("class_names",), "The classes' names between commas, or a file with one in each line.")
#: Of a source, what an input has: labels are not read.
_SOURCE = tuple(flag for flag in SOURCE if flag.name not in {"--y", "--labels"})
_FORMATS = ("table", "json")
_FILES = (".npz", ".parquet")

_EXAMPLES = """\b
Examples:
  fitq predict ID --data x.npy --head softmax --top-k 3 -o predictions.npz
  fitq predict ID --sample '[[0, 0, 5], [13, 9, 1]]'
  fitq predict ID --data digits:test --rows 0:5 -o json
"""


@click.command(short_help="Predict with a model.", epilog=_EXAMPLES)
@flags.begins_with_a_model
@flags.options(_DATA, _SAMPLE, *_SOURCE, SCALE, _NAMES, *PREDICT, *JOB)
@flags.tagged
@flags.waited_for
@arguments.timeout
@click.option(
    "-o",
    "--output",
    default="table",
    metavar="table|json|FILE",
    help="For people, for programs, or all predictions in a file: FILE ends in .npz or .parquet. [default: table]",
)
def predict(
    model: str | None,
    *,
    file: str | None,
    check: bool,
    no_wait: bool,
    timeout: float | None,
    output: str,
    **given: Any,
) -> None:
    """Predict with MODEL, and print the classes or the numbers.

    MODEL is a train job's id (or its beginning or end), a .keras or .h5 file, or an architecture with
    --weights. The scale is that job's unless given. DATA is as for `fitq train`. A --sample waits in the
    lane `interactive` unless --lane says otherwise, and is answered within one request.
    """
    target = _target(output, given)
    made = Description("predict", file, given)
    made.model(_MODEL, model)
    _input(made, given)
    made.fields((SCALE, *PREDICT))
    if given["class_names"] is not None:
        made.set(_NAMES, _names(given["class_names"]))
    spec = made.finished(given["tags"], given["assignments"])
    if target is not None and not check:
        flags.fill(spec, ("save",), target.suffix[1:])
    shown = "table" if target else output
    if target is None or check or no_wait:
        how = sending.How(check=check, watch=not (check or no_wait), timeout_s=timeout, output=shown)
        sending.deliver(spec, made.folder, file, how, made.flags)
        return
    job = sending.queued(sending.uploaded(spec, made.folder, file), made.flags, wait_s=sending.WAIT_S)
    with watch.detachable([job]):
        watch.attend(job, timeout_s=timeout)
        _save(job, target)


def _target(output: str, given: dict[str, Any]) -> Path | None:
    """Return the file that the predictions go to, or None for a print."""
    if output in _FORMATS:
        return None
    target = Path(output)
    if target.suffix not in _FILES:
        raise click.BadParameter(
            f"'{output}' is neither table nor json, nor ends in .npz or .parquet.", param_hint="-o"
        )
    if given["save"] not in {None, target.suffix[1:]}:
        raise click.UsageError(f"--save {given['save']} and -o {output} do not go together.")
    if not target.parent.is_dir():
        raise click.BadParameter(f"there is no folder '{target.parent}'.", param_hint="-o")
    return target


def _input(made: Description, given: dict[str, Any]) -> None:
    if given["sample"] is None:
        made.source(_DATA, given["data"], "input", _SOURCE)
        return
    if given["data"] is not None:
        raise click.UsageError("--sample and --data are two ways to say one thing: use one.")
    if not isinstance(given["sample"], (list, dict)):
        raise click.BadParameter("this is no JSON list of numbers, such as '[0.5, 1]'.", param_hint="--sample")
    flags.fill(made.spec, ("data", "input"), {})
    made.set(_SAMPLE, given["sample"])
    if given["lane"] is None:
        flags.fill(made.spec, ("resources", "lane"), "interactive")


def _names(text: str) -> list[str]:
    path = Path(text).expanduser()
    if not path.is_file():
        return [name.strip() for name in text.split(",")]
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is no text in UTF-8.", param_hint="--class-names") from error


def _save(job: Job, target: Path) -> None:
    if job.state != "succeeded":
        terminal.say(f"Job {job.id} {job.state}.")
    job.raise_for_state()
    try:
        job.download_artifact(f"predictions{target.suffix}", target)
    except OSError as error:
        raise FitqError(f"{target}: {error.strerror}.") from error
    terminal.data(str(target))
    click.get_current_context().exit(exits.OK)
