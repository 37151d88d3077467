"""A job's model on its way to a file: asked for until a worker has written it, then downloaded whole or not at all."""

import time
from pathlib import Path

from fitq import downloads, errors
from fitq.connection import Connection, path
from fitq.uploads import Progress

#: What ends the name of a file in each format.
ENDINGS = {
    "keras": ".keras",
    "h5": ".h5",
    "weights.h5": ".weights.h5",
    "h5-weights": "-weights.h5",
    "tf": "-tf.zip",
    "json": ".json",
    "yaml": ".yaml",
    "savedmodel": "-savedmodel.zip",
    "tflite": ".tflite",
    "onnx": ".onnx",
}
#: Seconds for which one request is held by the server; well below a client's time-out.
_HELD_S = 20
#: Seconds between two requests.
_PAUSE_S = 0.5


def pull(
    connection: Connection,
    job_id: str,
    *,
    form: str,
    checkpoint: str,
    to: Path,
    overwrite: bool,
    timeout_s: float | None,
    progress: Progress | None,
) -> Path:
    """Write a model to a file and return its path. See `Job.pull`."""
    if form not in ENDINGS:
        raise errors.Misconfigured(f"'{form}' is no format of a model: use {', '.join(ENDINGS)}.")
    if to.exists() and not overwrite:
        raise errors.Misconfigured(f"{to} is there already: choose another name, or overwrite it.")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    asked = [("as", form), ("checkpoint", checkpoint)]
    with downloads.whole(to) as file:
        while True:
            left = _HELD_S if deadline is None else min(_HELD_S, int(deadline - time.monotonic()))
            headers = {"Prefer": f"wait={max(0, left)}"}
            if connection.download(path("jobs", job_id, "model"), file, asked, headers=headers, progress=progress):
                return to
            if deadline is not None and time.monotonic() > deadline:
                raise errors.WaitTimeout(f"The model was not written within {timeout_s:g} s; ask again.")
            time.sleep(_PAUSE_S)
