"""Whether a data set of `keras.datasets` can be had on this machine: in a cache, or from the network."""

import subprocess
import sys

from shared import settings
from shared.settings import Settings

#: What is imported, downloaded and checked, in a process of its own: Keras is no business of this one.
_SCRIPT = """
import pathlib, sys
from shared.errors import BadData
from shared.sources.arrays import DatasetSource
from worker.training import preload, datasets
name, folder, seconds = sys.argv[1:]
source = DatasetSource(dataset=name, split="test")
try:
    datasets.load(source, pathlib.Path(folder) if folder else None, float(seconds))
except BadData as error:
    sys.exit(str(error).splitlines()[0][:200])
"""


def fetch(name: str, config: Settings) -> str | None:
    """Bring a data set into the cache; return None, or one line that says why it is not to be had."""
    folder = str(config.datasets) if config.datasets else ""
    command = [sys.executable, "-c", _SCRIPT, name, folder, str(config.dataset_timeout_s)]
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            command,
            env=settings.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=config.dataset_timeout_s + 40,
        )
    except subprocess.TimeoutExpired:
        return "the network is too slow"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
