"""What the forkserver imports: Keras, TensorFlow and this room, so that a runner starts warm.

Not one TensorFlow operation may run here: an operation starts TensorFlow's threads, which do not
survive a fork, and every child that is forked afterwards hangs for ever at its first operation.
"""

import os

# Libraries read these when they are imported; a site's own values win.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # noqa: TID251 - must be set before TensorFlow is imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # noqa: TID251 - must be set before Keras is imported

import keras  # noqa: F401 - imported to be warm
import numpy as np  # noqa: F401 - imported to be warm
import tensorflow as tf  # noqa: F401 - imported to be warm
from tensorflow.python.eager import context

from worker.training import kinds  # noqa: F401 - imports every module of this room


def assert_untouched() -> None:
    """Raise RuntimeError when a TensorFlow operation has run in this process."""
    current = context.context_safe()
    if current is not None and current._context_handle is not None:  # noqa: SLF001 - asking in public would start it
        raise RuntimeError("TensorFlow has been used in the process that runners are forked from; each would hang.")
