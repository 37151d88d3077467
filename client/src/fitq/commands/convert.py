"""`fitq convert`: an architecture that an older Keras wrote, in Keras 3's terms."""

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from fitq import terminal
from fitq.commands import arguments
from fitq.errors import BadSpecFile


@click.command(short_help="Convert an old Keras architecture to Keras 3.")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "-o", "--output", "to", type=click.Path(dir_okay=False, path_type=Path), help="Where to. [default: stdout]"
)
@click.option(
    "--as", "form", type=click.Choice(["json", "yaml"]), help="What to write. [default: by the ending, or json]"
)
def convert(file: str, *, to: Path | None, form: str | None) -> None:
    """Convert the architecture in FILE (JSON or YAML of any Keras; - reads standard input) to Keras 3.

    What was changed is said on standard error. Exit code 1, with every layer that cannot be converted named, when
    something in it cannot be.
    """
    made = arguments.queue().convert(read(file))
    for change in made["changes"]:
        terminal.say(f"changed: {change}")
    kind = form or ("yaml" if to is not None and to.suffix.lower() in {".yaml", ".yml"} else "json")
    write(written(made["architecture"], kind), to)


def read(file: str) -> str:
    """Return the text of a file, or of standard input; raise `BadSpecFile`."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSpecFile(f"{file}: this is no text: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        raise BadSpecFile(f"{file}: {error.strerror}.") from error


def written(architecture: dict[str, Any], kind: str) -> str:
    """Return an architecture as text; in YAML, texts stand in quotes, so that none of them is read as a number."""
    if kind == "json":
        return json.dumps(architecture, indent=1) + "\n"
    return yaml.dump(architecture, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)


class _Dumper(yaml.SafeDumper):
    """YAML that every reader takes as it was meant."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks so
        """Write everything out."""
        return True


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def write(text: str, to: Path | None) -> None:
    """Write a text to a file, or to standard output."""
    if to is None:
        click.echo(text, nl=False)
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadSpecFile(f"{to}: {error.strerror}.") from error
