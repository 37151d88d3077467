"""Sending files, with a bar on stderr for what takes a while."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fitq import terminal

if TYPE_CHECKING:
    from fitq.jobs import Queue

#: Bytes of a file above which its way is shown.
SHOWN = 16 << 20


class Sending:
    """A way to the server's uploads: call it with an open file and the name of what is in it."""

    def __init__(self, queue: "Queue", *, quiet: bool) -> None:
        """Take the queue; `quiet` shows no bar."""
        self._queue = queue
        self._quiet = quiet
        self._display: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the bar away."""
        self._end()

    def __call__(self, file: BinaryIO, name: str) -> str:
        """Send a file unless the server has it; return its reference, `sha256:…`."""
        try:
            return self._queue.upload(file, name=name, progress=None if self._quiet else self._show)
        finally:
            self._end()

    def _show(self, arrived: int, total: int) -> None:
        if total < SHOWN:
            return
        if self._display is None:
            columns = (TextColumn("uploading"), BarColumn(bar_width=24), DownloadColumn(), TimeRemainingColumn())
            self._display = Progress(
                *columns, console=terminal.console(stderr=True), transient=True, disable=not sys.stderr.isatty()
            )
            self._display.start()
            self._task = self._display.add_task("", total=total)
            if not sys.stderr.isatty():
                terminal.say(f"Uploading {total / 2**20:.0f} MiB …")
        self._display.update(self._task, completed=arrived)

    def _end(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None
