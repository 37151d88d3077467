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
