"""Flags that are fields of a job: what each is called, where in the job it stands, and what it may be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from fitq import specfile
from fitq.commands import arguments
from fitq.errors import BadSpecFile, FieldProblem, Invalid

F = TypeVar("F", bound=Callable[..., Any])

#: Where in a job a field stands.
Place = tuple[str, ...]


class Value(click.ParamType[Any]):
    """A name, or an object or list as JSON or YAML in one line."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read what begins like an object or a list; leave a name as it is."""
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
            return value
        try:
            return specfile.inline(value)
        except BadSpecFile as error:
            self.fail(str(error), param, ctx)


class Numbers(click.ParamType[Any]):
    """Whole numbers between commas, or `none`."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a list."""
        if not isinstance(value, str):
            return value
        try:
            parts = [part.strip() for part in value.split(",")] if value.strip() else []
            return [None if part.lower() == "none" else int(part) for part in parts]
        except ValueError:
            self.fail(f"'{value}' is no list of whole numbers; one looks like 28,28,1.", param, ctx)


class Rows(click.ParamType[Any]):
    """`FIRST:END`."""

    name = "rows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a pair."""
        first, colon, end = str(value).partition(":")
        if not colon or not first.isdecimal() or not end.isdecimal() or int(first) >= int(end):
            self.fail(f"'{value}' is no range of rows; the first hundred are 0:100.", param, ctx)
        return [int(first), int(end)]


class Names(click.ParamType[Any]):
    """Names between commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return a list."""
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


@dataclass(frozen=True)
class Flag:
    """One flag."""

    name: str
    place: Place
    help: str
    type: Any = None
    metavar: str | None = None
    multiple: bool = False

    @property
    def parameter(self) -> str:
        """The name by which click hands the flag's value over."""
        return self.name.split("/")[0].strip("-").replace("-", "_")

    @property
    def shown(self) -> str:
        """The flag as a person writes it."""
        return self.name.split("/")[0]

    @property
    def _metavar(self) -> str | None:
        return self.metavar or ("N" if isinstance(self.type, click.IntRange) else None)

    def option(self) -> Callable[[F], F]:
        """Return click's decorator."""
        return click.option(
            self.name,
            self.parameter,
            type=self.type,
            metavar=self._metavar,
            multiple=self.multiple,
            default=None,
            help=self.help,
        )


def _whole(least: int = 1, most: int | None = None) -> click.IntRange:
    return click.IntRange(least, most)


BATCH = _whole()

JOB = (
    Flag("--name", ("name",), "Name the job."),
    Flag("--seed", ("seed",), "Seed of weights and data order. [default: drawn]", _whole(0, 2**32 - 1)),
    Flag("--priority", ("priority",), "One point is worth ten minutes of waiting.", _whole(-100, 100)),
    Flag("--retries", ("retries",), "Machine faults in a row that the job survives.", _whole(0, 1000)),
    Flag("--lane", ("resources", "lane"), "Where the job waits.", click.Choice(["cpu", "gpu", "interactive"])),
    Flag("--memory-mb", ("resources", "memory_mb"), "Memory that the job may take, MiB.", _whole(64)),
    Flag("--disk-mb", ("resources", "disk_mb"), "Disk that checkpoints and artifacts may take, MiB.", _whole()),
    Flag(
        "--time-limit",
        ("resources", "time_limit_s"),
        "End the job after so many seconds of running.",
        click.FloatRange(0, min_open=True),
        "SECONDS",
    ),
)
COMPILE = (
    Flag("--optimizer", ("compile", "optimizer"), "Such as adam, or '{Adam: {learning_rate: 0.01}}'.", Value()),
    Flag(
        "--loss",
        ("compile", "loss"),
        "Such as mse, or '{SparseCategoricalCrossentropy: {from_logits: true}}'.",
        Value(),
    ),
    Flag("--metric", ("compile", "metrics"), "Such as accuracy; repeatable.", Value(), multiple=True),
)
FIT = (
    Flag("--epochs", ("fit", "epochs"), "The number at which training ends.", _whole()),
    Flag("--batch-size", ("fit", "batch_size"), "Rows of a step.", BATCH),
    Flag("--initial-epoch", ("fit", "initial_epoch"), "The number of the first epoch, from 0.", _whole(0)),
    Flag("--steps-per-epoch", ("fit", "steps_per_epoch"), "Steps of an epoch. [default: a pass]", _whole()),
    Flag("--validation-steps", ("fit", "validation_steps"), "Batches of a validation.", _whole()),
    Flag("--validation-freq", ("fit", "validation_freq"), "Validate every N epochs.", _whole()),
    Flag("--class-weight", ("fit", "class_weight"), 'Such as \'{"0": 1.0, "1": 5.0}\'.', Value()),
    Flag("--shuffle/--no-shuffle", ("data", "shuffle"), "Shuffle the rows anew for each pass."),
    Flag("--callback", ("callbacks",), "Such as '{EarlyStopping: {patience: 3}}'; repeatable.", Value(), multiple=True),
)
SCALE = Flag("--scale", ("data", "scale"), "Multiply every x by this, such as 0.00392157 for 1/255.", float)
ONE_HOT = Flag("--one-hot", ("data", "one_hot"), "Make class numbers one-hot rows of so many classes.", _whole(2))
EVALUATE = (
    Flag("--batch-size", ("batch_size",), "Rows of a step.", BATCH),
    Flag("--steps", ("steps",), "Batches to measure on. [default: all]", _whole()),
)
PREDICT = (
    Flag("--batch-size", ("batch_size",), "Rows of a step.", BATCH),
    Flag("--steps", ("steps",), "Batches to predict. [default: one pass]", _whole()),
    Flag("--head", ("head",), "Append a Softmax layer: scores become probabilities.", click.Choice(["softmax"])),
    Flag("--top-k", ("top_k",), "Show the K likeliest classes of each row.", _whole(1, 1000), "K"),
    Flag("--save", ("save",), "The file of all predictions. [default: npz]", click.Choice(["npz", "parquet"])),
)
#: What is said of the data's file; each kind of file takes some of them.
SOURCE = (
    Flag("--rows", (), "Only these rows.", Rows(), "FIRST:END"),
    Flag("--x", (), "The array of inputs in an .npz file. [default: x]", metavar="NAME"),
    Flag("--y", (), "The array of labels in an .npz file. [default: y]", metavar="NAME"),
    Flag("--labels", (), "The .npy file of the labels.", metavar="FILE"),
    Flag("--label", (), "The labels' column or feature (CSV, Parquet, TFRecord).", metavar="COLUMN"),
    Flag("--columns", (), "The inputs' columns (CSV, Parquet). [default: all others]", Names(), "A,B,…"),
    Flag("--image-size", (), "Height and width to which images are brought.", Numbers(), "H,W"),
    Flag("--features", (), "The features of a TFRecord file: '{image: {shape: [28, 28]}}'.", Value()),
)


def options(*flags: Flag) -> Callable[[F], F]:
    """Add the flags to a command, the first one first."""

    def add(command: F) -> F:
        for flag in reversed(flags):
            command = flag.option()(command)
        return command

    return add


def at(role: str, flags: Sequence[Flag] = SOURCE) -> tuple[Flag, ...]:
    """Return the flags that say more of a source, with where in the job they stand for one of its roles."""
    return tuple(replace(flag, place=("data", role, flag.parameter)) for flag in flags)


def given(flags: Sequence[Flag], values: Mapping[str, Any]) -> Iterator[tuple[Flag, Any]]:
    """Yield the flags that the command line holds, with their values."""
    for flag in flags:
        value = values.get(flag.parameter)
        if value is not None and value != ():
            yield flag, list(value) if flag.multiple else value


def fill(spec: dict[str, Any], place: Place, value: Any) -> None:
    """Set one field of a job; objects on the way to it are made, or copied."""
    *way, last = place
    for key in way:
        inner = spec.get(key)
        spec[key] = dict(inner) if isinstance(inner, dict) else {}
        spec = spec[key]
    spec[last] = value


def assignment(text: str) -> tuple[Place, Any]:
    """Return place and value of `a.b.c=VALUE`, whose value is read as YAML; raise ValueError."""
    place, equals, value = text.partition("=")
    if not equals or not all(place.split(".")):
        raise ValueError(f"'{text}' sets nothing; fit.epochs=3 does")
    try:
        return tuple(place.split(".")), specfile.inline(value)
    except BadSpecFile as error:
        raise ValueError(f"'{place}': {str(error).rstrip('.')}") from error


def placed(error: Invalid, flags: Sequence[Flag]) -> Invalid:
    """Return the server's refusal with the flags for the fields that came from the command line."""
    places = {"/" + "/".join(flag.place): flag.shown for flag in flags if flag.place}
    fields = tuple(FieldProblem(_named(field.pointer, places), field.detail) for field in error.fields)
    if not fields or fields == error.fields:
        return error
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    said = f"The job is wrong: {fields[0].pointer}: {fields[0].detail}{more}"
    return Invalid(said, status=error.status, code=error.code, fields=fields, request_id=error.request_id)


def _named(pointer: str, places: Mapping[str, str]) -> str:
    found = [place for place in places if pointer == place or pointer.startswith(f"{place}/")]
    return f"{places[max(found, key=len)]} ({pointer})" if found else pointer


def tagged(command: F) -> F:
    """Add `--tag` and `--set`."""
    command = click.option(
        "--set", "assignments", multiple=True, metavar="PLACE=VALUE", help="Any field, such as fit.on_nan=continue."
    )(command)
    return click.option(
        "--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=arguments.tags, help="Add a tag; repeatable."
    )(command)


def of_a_model(command: F) -> F:
    """Add what is said of a model: `--input-shape`, `--weights`, `--checkpoint`."""
    command = click.option(
        "--checkpoint", metavar="NAME", help="Of a job's model: final, last, best, or an epoch. [default: final]"
    )(command)
    command = click.option("--weights", metavar="FILE", help="The weights of a model that has none.")(command)
    return click.option(
        "--input-shape", type=Numbers(), metavar="N,N,…", help="One sample's shape, for a list of layers."
    )(command)


def begins_with_a_model(command: F) -> F:
    """Add MODEL, a file to begin with, and what is said of the model."""
    file = click.Path(dir_okay=False, allow_dash=True)
    command = click.option("-f", "--file", type=file, help="A job to begin with.")(of_a_model(command))
    return click.argument("model", required=False)(command)


def waited_for(command: F) -> F:
    """Add `--check` and `--no-wait`."""
    command = click.option("--no-wait", is_flag=True, help="Print the job's id, and do not wait for its end.")(command)
    return click.option("--check", is_flag=True, help="Only say what the job would need; queue nothing.")(command)
