"""The server's commands of the `fitq` command line."""

import sys

import click


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of the API (FITQ_PORT; default 8080, 0: any free one)."
)
def up(port: int | None) -> None:
    """Run all of fitq on this machine until Ctrl-C: database, broker, API, worker, control."""
    from setproctitle import setproctitle

    from shared import log, settings
    from shared.errors import Misconfigured
    from standalone.stack import Stack

    setproctitle("fitq up")
    try:
        config = settings.load()
        if port is not None:
            config = config.model_copy(update={"port": port})
        log.configure(config, "up")
        Stack(config).run(lambda line: click.echo(line, err=True))
    except Misconfigured as error:
        click.echo(f"fitq up: {error.message}", err=True)
        sys.exit(2)


@click.command()
@click.argument("statement", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="For people, or programs.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="At most so many rows."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Stop the statement then.",
)
def sql(statement: str | None, *, output: str, limit: int, timeout: float) -> None:
    """Answer one SELECT from the database, which it cannot change; list the views without one.

    FITQ_DATABASE_URL names the database; else it is that of FITQ_HOME (default ./.fitq). Rows go to
    stdout, everything else to stderr.
    """
    from shared import readonly, settings
    from shared.errors import FitqError, Misconfigured
    from standalone import sql as answers

    if statement is None:
        answers.show_views(output)
        return
    try:
        answer = readonly.query(settings.load().database_url, statement, limit=limit, timeout_s=timeout)
    except Misconfigured as error:
        click.echo(f"fitq sql: {error.message}", err=True)
        sys.exit(2)
    except FitqError as error:
        raise click.ClickException(error.message) from error
    answers.show(answer, output)
    if answer.more:
        click.echo(f"There are more rows than {limit}; --limit shows more of them.", err=True)


@click.command()
@click.option(
    "--fix", is_flag=True, help="Mend what can be mended: forget rows without their file, remove what is left."
)
@click.option("--quick", is_flag=True, help="Compare sizes alone; read no file.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or programs.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
def fsck(*, fix: bool, quick: bool, output: str, as_json: bool) -> None:
    """Find where the database and the files on the volume disagree; --fix mends it. Safe while the stack runs.

    FITQ_DATABASE_URL and FITQ_VOLUME say which; else they are those of FITQ_HOME (default ./.fitq). Never touched: the
    folder of an attempt that runs, what is younger than an hour, and the folder `data`.

    Ends with status 0 when all is well, 1 when something was found (mended or not), 2 when it cannot look.
    """
    from shared import settings
    from shared.errors import Misconfigured
    from shared.volume import report
    from standalone import fsck as checks

    try:
        made = checks.run(settings.load(), fix=fix, quick=quick)
    except Misconfigured as error:
        click.echo(f"fitq fsck: {error.message}", err=True)
        sys.exit(2)
    except Exception as error:
        if (reason := report.reason(error)) is None:
            raise
        click.echo(f"fitq fsck: {reason}", err=True)
        sys.exit(2)
    checks.show(made, "json" if as_json else output)
    sys.exit(made.status)
