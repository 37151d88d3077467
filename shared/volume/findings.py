"""What is found where rows and files disagree."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """In which way rows and files disagree."""

    #: A row's file is not there.
    MISSING = "missing"
    #: A row's file has another size or another content.
    DAMAGED = "damaged"
    #: A row's file may be whole, and cannot be read.
    UNREADABLE = "unreadable"
    #: No row names the file.
    ORPHAN = "orphan"
    #: The job's files were deleted, and some are left.
    DELETED = "deleted"
    #: A job runs although its lease expired long ago.
    LEASE = "lease"


@dataclass(frozen=True)
class Finding:
    """One disagreement."""

    fault: Fault
    #: The file or folder, below the volume; the job's id where it is no file.
    path: str
    bytes: int
    #: What it means, in a sentence.
    meaning: str
    #: Mends it, and returns whether it still was to be mended; None where only a person can.
    mend: Callable[[], bool] | None = None
