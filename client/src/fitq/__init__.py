"""fitq's client: submit Keras training jobs to a fitq server, and follow them.

import fitq

with fitq.connect() as queue:
    job = queue.submit(spec).wait()
    print(job.result())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import version

    from fitq import errors
    from fitq.follow import Event
    from fitq.jobs import Job, Queue, connect

    __version__ = version("fitq")

__all__ = ["Event", "Job", "Queue", "__version__", "connect", "errors"]

#: Where each public name lives. They are imported when first asked for: `fitq --help` needs no HTTP.
_HOMES = {"Event": "fitq.follow", "Job": "fitq.jobs", "Queue": "fitq.jobs", "connect": "fitq.jobs"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name == "errors":
        value = import_module("fitq.errors")
    elif name == "__version__":
        value = import_module("importlib.metadata").version("fitq")
    else:
        raise AttributeError(f"module 'fitq' has no attribute {name!r}")
    globals()[name] = value
    return value
