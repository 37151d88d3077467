"""`fitq train`: a train job from flags, or from a file that they override."""

from typing import Any

import click

from fitq.commands import arguments, flags, sending
from fitq.commands.described import Description
from fitq.commands.flags import COMPILE, FIT, JOB, ONE_HOT, SCALE, SOURCE, Flag

_MODEL = Flag("--model", ("model",), "A job's id, or a file: see above.", metavar="MODEL")
_DATA = Flag("--data", ("data", "train"), "What the model learns from: see above.", metavar="DATA")
_VALIDATION = Flag("--validation-data", ("data", "validation"), "What each epoch is validated on.", metavar="DATA")
_SPLIT = Flag(
    "--validation-split", ("data", "validation"), "Validate on the last part of the rows, such as 0.1.", float
)
_VALIDATION_LABELS = Flag("--validation-labels", (), "The .npy file of its labels.", metavar="FILE")

_EXAMPLES = """\b
Examples:
  fitq train --model model.json --data data.npz --epochs 10 --optimizer adam \\
      --loss categorical_crossentropy --metric accuracy --validation-split 0.1 --watch
  fitq train --model layers.yaml --input-shape 28,28 --data fashion_mnist --scale 0.00392157 \\
      --loss '{SparseCategoricalCrossentropy: {from_logits: true}}' --metric accuracy
  fitq train job.yaml --epochs 20 --name longer --tag team=vision
"""


@click.command(short_help="Train a model: from flags, or a file and flags.", epilog=_EXAMPLES)
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@flags.options(_MODEL)
@flags.of_a_model
@flags.options(_DATA, _VALIDATION, _VALIDATION_LABELS, _SPLIT, *SOURCE, SCALE, ONE_HOT, *COMPILE)
@click.option("--learning-rate", type=float, help="The optimizer's learning rate.")
@flags.options(*FIT, *JOB)
@flags.tagged
@click.option("--check", is_flag=True, help="Only say what the job would need; queue nothing.")
@click.option("--watch", is_flag=True, help="Follow the job to its end.")
@arguments.timeout
@arguments.output
def train(file: str | None, *, check: bool, watch: bool, timeout: float | None, output: str, **given: Any) -> None:
    """Train a model. FILE is a job in JSON or YAML (- reads standard input), which flags override.

    MODEL is the id of a job that trained one (or its beginning or end); a .json or .yaml file with a Keras
    architecture (Model.to_json()) or a list of layers; or a whole model in a .keras or .h5 file.

    DATA is a data set's name (fashion_mnist, or digits:test for its test part), or a file, told by its
    ending: .npz, .npy, .csv, .parquet, .tfrecord, .zip (images), or a folder of images with a folder for
    each class; KIND=FILE where the ending says nothing. Files of this machine are uploaded; what is no file
    here is taken for a path below the server's data folder, or for an upload (sha256:…).

    Prints the job's id. What is printed means: this job will run.
    """
    made = Description("train", file, given)
    made.model(_MODEL, given["model"])
    made.source(_DATA, given["data"], "train")
    _validation(made, given)
    made.fields((SCALE, ONE_HOT, *COMPILE, *FIT))
    _learning_rate(made, given["learning_rate"])
    spec = made.finished(given["tags"], given["assignments"])
    how = sending.How(check=check, watch=watch, timeout_s=timeout, output=output)
    sending.deliver(spec, made.folder, file, how, made.flags)


def _validation(made: Description, given: dict[str, Any]) -> None:
    """Set what each epoch is validated on: a source, or a part of the training data."""
    text, labels, split = given["validation_data"], given["validation_labels"], given["validation_split"]
    if text is not None and split is not None:
        raise click.UsageError("--validation-data and --validation-split are two ways to say one thing: use one.")
    if text is None and labels is not None:
        raise click.UsageError("--validation-labels belongs to --validation-data.")
    if split is not None:
        made.set(_SPLIT, {"split": split})
    if text is not None:
        made.validation(_VALIDATION, text, labels)


def _learning_rate(made: Description, rate: float | None) -> None:
    if rate is None:
        return
    compiled = made.spec.get("compile")
    optimizer = compiled.get("optimizer", "rmsprop") if isinstance(compiled, dict) else "rmsprop"
    if not isinstance(optimizer, str):
        raise click.BadParameter("give it in --optimizer, which is an object already.", param_hint="--learning-rate")
    made.set(Flag("--learning-rate", ("compile", "optimizer", optimizer, "learning_rate"), ""), rate)
