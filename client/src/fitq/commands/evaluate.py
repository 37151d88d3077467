"""`fitq evaluate`: a model measured on data, from flags, or from a file that they override."""

from typing import Any

import click

from fitq.commands import arguments, flags, sending
from fitq.commands.described import Description
from fitq.commands.flags import COMPILE, EVALUATE, JOB, ONE_HOT, SCALE, SOURCE, Flag

_MODEL = Flag("MODEL", ("model",), "")
_DATA = Flag("--data", ("data", "test"), "What the model is measured on.", metavar="DATA")
#: Of `compile`, what an evaluation needs.
_MEASURES = tuple(flag for flag in COMPILE if flag.name != "--optimizer")

_EXAMPLES = """\b
Examples:
  fitq evaluate ID --data fashion_mnist:test
  fitq evaluate model.keras --data test.npz --loss mse --metric mae
"""


@click.command(short_help="Measure a model on data.", epilog=_EXAMPLES)
@flags.begins_with_a_model
@flags.options(_DATA, *SOURCE, SCALE, ONE_HOT, *_MEASURES, *EVALUATE, *JOB)
@flags.tagged
@flags.waited_for
@arguments.timeout
@arguments.output
def evaluate(
    model: str | None,
    *,
    file: str | None,
    check: bool,
    no_wait: bool,
    timeout: float | None,
    output: str,
    **given: Any,
) -> None:
    """Measure MODEL on data, and print loss and metrics.

    MODEL is a train job's id (or its beginning or end), a .keras or .h5 file, or an architecture with
    --weights. Loss, metrics, scale and one_hot are that job's unless given. DATA is as for `fitq train`.
    """
    made = Description("evaluate", file, given)
    made.model(_MODEL, model)
    made.source(_DATA, given["data"], "test")
    made.fields((SCALE, ONE_HOT, *_MEASURES, *EVALUATE))
    spec = made.finished(given["tags"], given["assignments"])
    how = sending.How(check=check, watch=not (check or no_wait), timeout_s=timeout, output=output)
    sending.deliver(spec, made.folder, file, how, made.flags)
