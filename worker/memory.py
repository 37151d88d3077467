"""The memory of a machine, and how much of it the jobs that run there have been promised."""

import threading

import psutil

#: MiB that a machine keeps for itself.
_RESERVE_MB = 256


class Memory:
    """Keeps count of promises."""

    def __init__(self) -> None:
        """Begin without any."""
        self._promised: dict[object, int] = {}
        self._lock = threading.Lock()

    def promise(self, who: object, memory_mb: int) -> None:
        """Note the memory that a running job may still grow by, MiB; 0 when it is gone."""
        with self._lock:
            if memory_mb > 0:
                self._promised[who] = memory_mb
            else:
                self._promised.pop(who, None)

    @property
    def free_mb(self) -> int:
        """Memory that is available and promised to nobody, MiB."""
        with self._lock:
            promised = sum(self._promised.values())
        available = int(psutil.virtual_memory().available) >> 20
        return max(0, available - promised - _RESERVE_MB)
