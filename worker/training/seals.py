"""That what a job learns from stays what it was: a SHA-256 of each file, taken beside the training.

A checkpoint holds a seal of each file (or folder of images) that the training reads. A later attempt compares
them before anything of its own counts: a file of the same stamp (size, inode, times of the last change) was not
touched, of any other the SHA-256 decides. A thread takes them, so that no first step waits for it. An upload
needs no seal: its name is its SHA-256.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared import refs
from shared.errors import BadData, CheckpointCorrupt
from worker.training.sources.place import Content

#: Characters of a SHA-256 that a message shows.
_SHOWN = 12


@dataclass(frozen=True)
class Seal:
    """What a file was when it was opened."""

    bytes: int
    stamp: str
    #: None while it is not known.
    sha256: str | None = None


class Seals:
    """The seals of one attempt's data, and what the checkpoint that it goes on from says of them."""

    def __init__(self, contents: Mapping[str, Content]) -> None:
        """Take the files as they were opened; nothing is read yet."""
        self._contents = {label: one for label, one in contents.items() if refs.upload(label) is None}
        self._seals = {label: Seal(one.size, one.stamp) for label, one in self._contents.items()}
        self._before: dict[str, Seal] = {}
        self._wrong: Exception | None = None
        self._settled = threading.Event()

    def compare(self, saved: Mapping[str, Any]) -> None:
        """Take the seals of the checkpoint to go on from.

        Raise `BadData` for a file of another size, `CheckpointCorrupt` where nobody can tell whether a file is as
        it was.
        """
        before = {label: Seal(**one) for label, one in saved.items() if label in self._seals}
        for label, then in before.items():
            here = self._seals[label]
            if then.bytes != here.bytes:
                raise _changed(label, f"it had {then.bytes:,} bytes and has {here.bytes:,} now")
            if then.sha256 is None and then.stamp != here.stamp:
                raise CheckpointCorrupt(f"{label} was touched since, before its SHA-256 was known.")
        self._before = before

    def start(self) -> threading.Thread:
        """Begin to read the files, those first that were touched since the checkpoint; return the thread that reads."""
        same = {label: then for label, then in self._before.items() if then.stamp == self._seals[label].stamp}
        self._seals |= same
        touched = self._before.keys() - same.keys()
        others = [label for label, seal in self._seals.items() if seal.sha256 is None and label not in touched]
        reading = threading.Thread(target=self._read, args=(sorted(touched), others), name="seals", daemon=True)
        reading.start()
        return reading

    def check(self) -> None:
        """Raise `BadData` as soon as it is known that a file was changed. Cheap: ask each step."""
        if self._wrong is not None:
            raise self._wrong

    def settled(self, timeout_s: float) -> bool:
        """Wait so long to learn whether the files are what they were; return whether it is known. Raise `BadData`."""
        known = self._settled.wait(timeout_s)
        self.check()
        return known

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the seals as a checkpoint holds them, so far as they are known."""
        return {label: asdict(seal) for label, seal in self._seals.items()}

    def _read(self, touched: Iterable[str], others: Iterable[str]) -> None:
        try:
            for label in touched:
                self._take(label)
                self._compare(label)
        except Exception as error:  # noqa: BLE001 - a thread's end: whoever trains raises it
            self._wrong = error
        self._settled.set()
        for label in others:
            try:
                self._take(label)
            except (BadData, OSError):
                # Somebody writes to it: it stays without a SHA-256, which the next attempt will miss.
                continue

    def _take(self, label: str) -> None:
        self._seals[label] = replace(self._seals[label], sha256=self._contents[label].sha256())

    def _compare(self, label: str) -> None:
        then, here = self._before[label].sha256, self._seals[label].sha256
        if then != here:
            raise _changed(label, f"its SHA-256 was {str(then)[:_SHOWN]}…, now {str(here)[:_SHOWN]}…")


def _changed(label: str, how: str) -> BadData:
    return BadData(
        f"{label} was changed after the job had begun: {how}. Put it back as it was and retry the job, "
        "or submit the job anew to train on what is there now."
    )
