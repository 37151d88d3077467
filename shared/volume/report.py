"""A look at the whole volume from its beginning to its end: what was looked at, found and mended."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from shared import db
from shared.settings import Settings
from shared.volume import fsck
from shared.volume.damage import Seen
from shared.volume.findings import Finding


@dataclass
class Report:
    """What was looked at, found and mended."""

    files: int = 0
    bytes: int = 0
    #: Each with what came of it: `mended`, `gone` (nothing was left to mend), `left`, or why it could not be mended.
    found: list[tuple[Finding, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 where rows and files agree, 1 where something was found."""
        return 1 if self.found else 0

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"files": self.files, "bytes": self.bytes, "findings": [_plain(*one) for one in self.found]}


def _plain(finding: Finding, outcome: str) -> dict[str, object]:
    said = {"fault": finding.fault, "path": finding.path, "bytes": finding.bytes, "meaning": finding.meaning}
    return {**said, "mendable": finding.mend is not None, "outcome": outcome}


def make(engine: Engine, config: Settings, *, fix: bool, quick: bool, seen: Seen = lambda _: None) -> Report:
    """Look at everything, and mend what can be mended where `fix` says so; `quick` compares sizes alone.

    Raise `Misconfigured` for a volume that cannot be judged.
    """
    report = Report()

    def count(size: int) -> None:
        report.files, report.bytes = report.files + 1, report.bytes + size
        seen(size)

    for finding in fsck.find(engine, config.volume_path, quick=quick, lease_s=config.lease_s, seen=count):
        report.found.append((finding, _mend(finding) if fix else "left"))
    return report


def _mend(finding: Finding) -> str:
    if finding.mend is None:
        return "left"
    try:
        return "mended" if finding.mend() else "gone"
    except OSError as error:
        return f"not mended: {error.strerror}"


def reason(error: Exception) -> str | None:
    """Return why the volume could not be looked at, in a line; None for an error of another kind."""
    if isinstance(error, OSError) or db.is_away(error):
        return str(error).split("\n", 1)[0]
    return None
