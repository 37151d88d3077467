"""Keras's and TensorFlow's errors, turned into a sentence that a person can act on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from shared.errors import BadData, BadSpec

#: What Keras raises for a model, an optimizer or data that cannot be.
_PYTHON_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
_GRAPH_ERRORS = (tf.errors.UnimplementedError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: Lines that say where in TensorFlow or Keras it happened, not what.
_NOISE = re.compile(
    r"^(Graph execution error|Exception encountered when calling|Detected at node|Arguments received|"
    r"File \"|Traceback|\[\[\{\{node|\[\[|Stack trace|\d+ root error|\(\d+\) |  • |in user code|\[Op:)"
)
_LONGEST = 500


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise `BadSpec` "<what>: <why>" for an error of Keras in the block, `BadData` for one about values.

    Running out of memory passes through as it is.
    """
    with values_explained(what):
        try:
            yield
        except (*_PYTHON_ERRORS, *_GRAPH_ERRORS) as error:
            raise BadSpec(f"{what}: {essence(error)}") from error


@contextmanager
def values_explained(what: str) -> Iterator[None]:
    """Raise `BadData` when TensorFlow refuses a value in the block, such as a label without a class."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        raise BadData(f"{what}: {essence(error)}") from error


def essence(error: BaseException) -> str:
    """Return the line of an error's message that says what is wrong."""
    text = _ANSI.sub("", str(getattr(error, "message", None) or error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not _NOISE.match(line)]
    line = (telling or lines or [type(error).__name__])[-1 if text.startswith("Graph execution error") else 0]
    line = re.sub(r"\s*\[Op:\w+\].*$", "", line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
