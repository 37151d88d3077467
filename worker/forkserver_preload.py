"""What the forkserver imports, in order: the guard first, then Keras, then the runner."""

from worker import guard

guard.guard_forkserver()

from setproctitle import setproctitle  # noqa: E402 - the guard must be in force first

setproctitle("fitq forkserver")

from worker import runner  # noqa: E402, F401 - imports Keras, which takes seconds
from worker.training import preload  # noqa: E402

preload.assert_untouched()
