"""Showing a watched job on stderr: bars on a terminal, plain lines anywhere else."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from fitq import ids, terminal, text
from fitq.story import Line, Story


class Display(Protocol):
    """Where a story is shown."""

    def show(self, story: Story, lines: list[Line]) -> None:
        """Show how the story stands, and what was just said about it."""


class Lines:
    """One line for whatever happens."""

    def __init__(self, *, labelled: bool = False) -> None:
        """Begin each line with the job's label, when there are several."""
        self._labelled = labelled

    def show(self, story: Story, lines: list[Line]) -> None:
        """Write the new lines; how the story stands is in them."""
        prefix = f"{label(story)}  " if self._labelled else ""
        for line in lines:
            terminal.say(prefix + line.said)


class Bars:
    """One bar for the epochs, one for the steps of the epoch, and the metrics beside them."""

    def __init__(self, progress: Progress) -> None:
        """Take the live display to draw on."""
        self._progress = progress
        self._epochs = progress.add_task("", total=None, note="")
        self._steps = progress.add_task("", total=None, note="", visible=False)

    def show(self, story: Story, lines: list[Line]) -> None:
        """Write what is worth a line above the bars, and move them."""
        for line in lines:
            if line.bars:
                self._progress.console.print(text.clean(line.said))
        now = story.progress
        phase = text.line(now.get("phase") or "starting") if not story.waits else "queued"
        latest = story.epochs.get(story.done - 1, {})
        self._progress.update(
            self._epochs,
            description="epochs" if story.total and not story.waits else phase,
            total=story.total or None,
            completed=story.done,
            note=story.waits or text.metrics(latest),
        )
        self._progress.update(
            self._steps,
            description=phase,
            total=now.get("steps") or None,
            completed=now.get("step") or 0,
            note=text.metrics(now.get("metrics") or {}),
            visible=bool(now.get("steps")) and not story.waits,
        )


class ManyBars:
    """One bar for each of several jobs: its epochs, its steps while there are none, and the metrics beside it."""

    def __init__(self, progress: Progress, stories: Sequence[Story]) -> None:
        """Take the live display to draw on, and the jobs in the order of their bars."""
        self._progress = progress
        self._tasks = {story.id: progress.add_task(label(story), total=None, note="") for story in stories}

    def show(self, story: Story, lines: list[Line]) -> None:
        """Write what is worth a line above the bars, and move the job's own."""
        for line in lines:
            if line.bars:
                self._progress.console.print(text.clean(f"{label(story)}  {line.said}"))
        now, task = story.progress, self._tasks[story.id]
        self._progress.update(
            task,
            total=story.total or now.get("steps") or None,
            completed=story.done if story.total else now.get("step") or 0,
            note=self._note(story),
        )
        if story.ended:
            self._progress.stop_task(task)

    @staticmethod
    def _note(story: Story) -> str:
        phase = "" if story.waits else text.line(story.progress.get("phase") or story.state)
        latest = text.metrics(story.progress.get("metrics") or story.epochs.get(story.done - 1, {}))
        return "  ".join(part for part in (story.ended, story.waits or latest or phase) if part)


def label(story: Story) -> str:
    """Return what tells one of several jobs from the others: the end of its id."""
    return ids.short(story.id)


def shows_bars() -> bool:
    """Whether stderr is a terminal that can redraw."""
    return sys.stderr.isatty() and not terminal.console(stderr=True).is_dumb_terminal


@contextmanager
def display(stories: Sequence[Story]) -> Iterator[Display]:
    """Open the display that fits stderr and so many jobs."""
    many = len(stories) > 1
    if not shows_bars():
        yield Lines(labelled=many)
        return
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn(
            "{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=terminal.console(stderr=True), expand=True, transient=True) as progress:
        yield ManyBars(progress, stories) if many else Bars(progress)
