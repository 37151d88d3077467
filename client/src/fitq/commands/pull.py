"""`fitq pull`: a job's model as a file, in the format that one asks for."""

from pathlib import Path

import click

from fitq import ids
from fitq.commands import arguments, upload
from fitq.pull import ENDINGS


@click.command(short_help="Download a job's model, in any format.")
@arguments.job_id
@click.option(
    "--as", "form", type=click.Choice(list(ENDINGS)), default="keras", show_default=True, help="The file's format."
)
@click.option(
    "--checkpoint", default="final", show_default=True, help="Which state: `final`, `last`, `best` or an epoch from 0."
)
@click.option(
    "-o", "-O", "--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Where to. [default: by name]"
)
@click.option("--force", is_flag=True, help="Overwrite the file when it is there.")
@arguments.timeout
def pull(
    job_id: str, *, form: str, checkpoint: str, output_file: Path | None, force: bool, timeout: float | None
) -> None:
    """Download the model of the train job ID, and print the file's name.

    keras and h5 hold the whole model, weights.h5, h5-weights (of Keras 1 and 2) and tf its weights, json and
    yaml its architecture, savedmodel, tflite and onnx its forward pass.
    """
    job = arguments.find(job_id)
    target = output_file or Path(f"{ids.short(job.id)}-{checkpoint}{ENDINGS[form]}")
    if target.exists() and not force:
        raise click.UsageError(f"{target} is there already: choose another name with -o, or overwrite it with --force.")

    def download() -> None:
        with upload.bar(target.name) as progress:
            job.pull(form, target, checkpoint=checkpoint, overwrite=force, timeout_s=timeout, progress=progress)

    arguments.save(download, target)
