"""The `fitq` command. Each sub-command is imported when it is called for, and no sooner.

A server on the same machine adds its commands through the entry points `fitq.commands`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.metadata import EntryPoint

    from fitq.errors import FieldProblem, FitqError

#: Entry points of this group are commands of the server's distribution.
GROUP = "fitq.commands"

#: Where each command of the client lives, and the line that `fitq --help` says about it.
COMMANDS = {
    "train": ("fitq.commands.train:train", "Train a model: from flags, or a file and flags."),
    "evaluate": ("fitq.commands.evaluate:evaluate", "Measure a model on data."),
    "predict": ("fitq.commands.predict:predict", "Predict with a model."),
    "init": ("fitq.commands.init:init", "Write a commented job to begin with."),
    "submit": ("fitq.commands.submit:submit", "Queue the job in a JSON or YAML file."),
    "convert": ("fitq.commands.convert:convert", "Convert an old Keras architecture to Keras 3."),
    "upload": ("fitq.commands.upload:upload", "Bring files to the server, for jobs to use."),
    "jobs": ("fitq.commands.lists:jobs", "List jobs, the newest first."),
    "show": ("fitq.commands.reading:show", "Show one job."),
    "watch": ("fitq.commands.watch:watch", "Follow jobs to their end."),
    "logs": ("fitq.commands.reading:logs", "Print what a job printed."),
    "metrics": ("fitq.commands.reading:metrics", "Print a job's metrics, epoch by epoch."),
    "history": ("fitq.commands.reading:history", "Print what Keras's History.history holds."),
    "result": ("fitq.commands.reading:result", "Print what a job came to."),
    "checkpoints": ("fitq.commands.checkpoints:checkpoints", "List a job's checkpoints, or download one."),
    "pull": ("fitq.commands.pull:pull", "Download a job's model, in any format."),
    "compare": ("fitq.commands.compare:compare", "Compare jobs: their specs, metrics and times."),
    "cancel": ("fitq.commands.control:cancel", "Ask for a job's end."),
    "pause": ("fitq.commands.control:pause", "Hold a job back until it is resumed."),
    "resume": ("fitq.commands.control:resume", "Let a paused job go on, or train an ended one further."),
    "save": ("fitq.commands.control:save", "Ask a running job for a checkpoint now."),
    "delete": ("fitq.commands.control:delete", "Delete an ended job's files."),
    "retry": ("fitq.commands.control:retry", "Queue a failed or cancelled job again."),
    "workers": ("fitq.commands.lists:workers", "List the workers."),
}
#: Commands that the server's distribution is known to bring.
SERVER_COMMANDS = {
    "up": "Start a whole fitq server on this machine.",
    "sql": "Ask the history in SQL, read-only.",
}


class Failure(click.ClickException):
    """A `FitqError` on its way out of the command."""

    def __init__(self, error: "FitqError") -> None:
        """Take the error; its kind decides the exit code."""
        from fitq import exits

        super().__init__(str(error))
        self.error = error
        vars(self)["exit_code"] = exits.code(error)

    def show(self, file: Any = None) -> None:
        """Print the sentence, then one line for each wrong field; of a single one, that is the sentence."""
        from fitq.text import clean

        said, fields = self._told()
        click.echo(f"Error: {clean(said)}", file=file, err=file is None)
        for field in fields:
            click.echo(f"  {clean(field.pointer) or '/'}: {clean(field.detail)}", file=file, err=file is None)
        request = getattr(self.error, "request_id", None)
        if request and getattr(self.error, "code", None) == "internal":
            click.echo(f"  The server's log knows it as {clean(request)}.", file=file, err=file is None)

    def _told(self) -> "tuple[str, Sequence[FieldProblem]]":
        """Return the sentence, with its place, and the wrong fields that it leaves to be told."""
        fields: Sequence[FieldProblem] = getattr(self.error, "fields", ())
        if len(fields) != 1 or fields[0].detail not in self.message:
            return self.message, fields
        place = fields[0].pointer
        return (self.message if place in self.message else f"{place}: {self.message}"), ()


class Commands(click.Group):
    """The client's commands, and those that a server adds."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click asks so
        """Return the commands' names, the client's first."""
        return [*COMMANDS, *sorted({*SERVER_COMMANDS, *_added()})]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        added = _added()
        if cmd_name in added:
            return _load(added[cmd_name])
        if cmd_name in SERVER_COMMANDS:
            raise click.ClickException(
                f"`fitq {cmd_name}` comes with the server's distribution, fitq-server, "
                "which is not installed in this environment. To use a server elsewhere, set FITQ_URL."
            )
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest those with a like name."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            names = self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=names, ctx=ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])
        rows = [(name, _said(name)) for name in self.list_commands(ctx) if name not in COMMANDS]
        with formatter.section("Commands of the server"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what goes wrong into a sentence and an exit code."""
        from fitq.errors import FitqError

        try:
            return super().invoke(ctx)
        except FitqError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


def _added() -> "dict[str, EntryPoint]":
    """Return the commands that other distributions add."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _said(name: str) -> str:
    return SERVER_COMMANDS.get(name, "Added by an installed package.")


def _load(point: "EntryPoint") -> click.Command:
    """Import a server's command; say what is missing when it cannot be."""
    try:
        command = point.load()
    except (ImportError, AttributeError) as error:
        raise click.ClickException(
            f"`fitq {point.name}` cannot start: {error}. Is fitq-server installed with all that it needs?"
        ) from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"`fitq {point.name}` is no command: {point.value}.")
    return command


def _version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click calls it so
    if asked:
        from fitq import __version__

        click.echo(f"fitq {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", envvar="FITQ_URL", show_envvar=True, help="The server. [default: http://127.0.0.1:8080]")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def cli(ctx: click.Context, url: str | None) -> None:
    """Train Keras models through a queue: submit jobs, and follow them.

    FITQ_URL names the server, FITQ_API_KEY holds its key if it asks for one.

    Exit codes: 0 done, 1 error, 2 usage, 3 job failed, 4 job cancelled, 124 wait timed out,
    130 interrupted (the job goes on).
    """
    ctx.obj = url


def main() -> None:
    """Run the `fitq` command."""
    cli(prog_name="fitq")
