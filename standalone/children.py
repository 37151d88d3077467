"""Child processes: started, watched, started again when they die, ended in order."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from shared import log

#: Seconds before a child that died is started again: at first, and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
#: A child that ran for so long has recovered: its next pause is short again.
_RECOVERED_S = 30.0

_log = log.get(__name__)


@dataclass
class Child:
    """One program of the stack, and its process at the moment."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_path: Path
    #: Seconds that it may take to end in order.
    patience_s: float = 5.0
    process: subprocess.Popen[bytes] | None = None
    _pause_s: float = _FIRST_PAUSE_S
    _started: float = 0.0
    _again_at: float | None = field(default=None)

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, tied to this process's life. Only from the main thread: the tie is to the thread."""
        tether = [sys.executable, "-m", "standalone.tether", str(os.getpid())]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                [*tether, *self.command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started = time.monotonic()
        self._again_at = None

    def tend(self) -> None:
        """Start it again when it has died, after a pause that grows while it keeps dying."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if self._again_at is None:
            self._pause_s = (
                _FIRST_PAUSE_S if now - self._started > _RECOVERED_S else min(self._pause_s * 2, _LONGEST_PAUSE_S)
            )
            self._again_at = now + self._pause_s
            _log.warning(
                "died; starting it again", child=self.name, status=self.process.returncode, log=str(self.log_path)
            )
        elif now >= self._again_at:
            self.start()

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        if self.process is not None and self.running:
            self.process.terminate()

    def end(self, *, patience_s: float | None = None) -> None:
        """Wait for its end, at most its patience; kill it then."""
        if self.process is None:
            return
        try:
            self.process.wait(self.patience_s if patience_s is None else patience_s)
        except subprocess.TimeoutExpired:
            _log.warning("killed: it took too long to end", child=self.name)
            self.process.kill()
            self.process.wait()
