"""Failpoints: places at which a test makes a process fail. Off everywhere else.

Where the variable `FITQ_FAILPOINTS` names a folder, a process that comes to a failpoint looks there for a file of the
failpoint's name. It takes the file away, so that of all processes one fails, and does so once; then it does what the
file says:

    kill9   kills itself                        exit    leaves at once, without a word
    stop    freezes itself until a SIGCONT      sleep   does nothing for an hour
    raise   fails as if a service did not answer
"""

import os
import signal
import time
from enum import StrEnum
from pathlib import Path

# Not a setting: runners, which know no settings, come to failpoints too.
_FOLDER = os.environ.get("FITQ_FAILPOINTS")  # noqa: TID251
_EXIT_STATUS = 70
_SLEEP_S = 3600.0


class Point(StrEnum):
    """Where a process may be made to fail."""

    #: API: the job's rows are written, and not committed.
    AFTER_INSERT_BEFORE_COMMIT = "after_insert_before_commit"
    #: API: the job is committed; nobody was told, and no bell has rung.
    AFTER_COMMIT_BEFORE_REPLY = "after_commit_before_reply"
    #: Worker: a bell was heard (and acknowledged).
    AFTER_RECEIVE_BEFORE_CLAIM = "after_receive_before_claim"
    #: Worker: the claim is committed; nobody renews its lease yet.
    AFTER_CLAIM_BEFORE_START = "after_claim_before_start"
    #: Worker: an epoch's rows are written, and not committed.
    IN_EPOCH_TX_BEFORE_COMMIT = "in_epoch_tx_before_commit"
    #: Worker: what a runner said is committed, and the worker does not know it.
    AFTER_COMMIT_LOST_REPLY = "after_commit_lost_reply"
    #: Worker: the attempt's end is committed.
    AFTER_END_BEFORE_NEXT = "after_end_before_next"
    #: Runner: a checkpoint's temporary file is written; it is neither synced nor renamed.
    MID_CHECKPOINT_WRITE = "mid_checkpoint_write"
    #: Runner: the checkpoint has its name; nobody was told of it.
    AFTER_RENAME_BEFORE_ROW = "after_rename_before_row"
    #: Runner: it has said how it ended, and is still there.
    AFTER_RESULT_BEFORE_EXIT = "after_result_before_exit"


class Reached(Exception):
    """A failpoint was told to raise."""


def reach(point: Point) -> None:
    """Fail here, when a test wants it. Raise `Reached` when that is how."""
    if _FOLDER is not None:
        _fail(Path(_FOLDER) / point)


def _fail(path: Path) -> None:
    try:
        action = path.read_text()
        path.unlink()
    except FileNotFoundError:
        return
    match action:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "exit":
            os._exit(_EXIT_STATUS)
        case "sleep":
            time.sleep(_SLEEP_S)
        case _:
            raise Reached(f"{path.name}: {action}")
