"""What `fitq fsck` prints: a bar while it looks, then what it found."""

from collections.abc import Iterator
from contextlib import contextmanager

from fitq import terminal, text
from shared import db, preflight
from shared.settings import Settings
from shared.volume import damage, report
from shared.volume.damage import Seen
from shared.volume.report import Report


def run(config: Settings, *, fix: bool, quick: bool) -> Report:
    """Look at everything, with a bar on a terminal. See `shared.volume.report`."""
    engine = db.connect(config.database_url, pool_size=2)
    try:
        preflight.check_schema(engine)
        files, size = damage.total(engine)
        with _bar(files if quick else size, quick=quick) as seen:
            return report.make(engine, config, fix=fix, quick=quick, seen=seen)
    finally:
        engine.dispose()


@contextmanager
def _bar(total: int, *, quick: bool) -> Iterator[Seen]:
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = terminal.console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    measure = MofNCompleteColumn() if quick else DownloadColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), measure, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("Looking at files", total=total)
        yield lambda size: bars.advance(bar, 1 if quick else size)


def show(made: Report, output: str) -> None:
    """Print the findings: as a table for people, with a sentence on stderr, or as a JSON object."""
    if output == "json":
        terminal.json(made.to_json())
        return
    if made.found:
        rows = [(one.fault, one.path, text.size(one.bytes), outcome, one.meaning) for one, outcome in made.found]
        terminal.table(["fault", "path", "size", "mended", "meaning"], rows, right=["size"])
    terminal.say(_summary(made))


def _summary(made: Report) -> str:
    looked = f"{made.files:,} files with rows, {text.size(made.bytes)}"
    if not made.found:
        return f"Rows and files agree: {looked}."
    mended = sum(outcome == "mended" for _, outcome in made.found)
    mendable = sum(finding.mend is not None and outcome == "left" for finding, outcome in made.found)
    said = f"{len(made.found)} found among {looked}" + (f"; {mended} mended" if mended else "")
    return said + (f"; `fitq fsck --fix` mends {mendable} of them." if mendable else ".")
