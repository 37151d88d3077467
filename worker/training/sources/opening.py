"""From a source's description to a reader of its rows."""

from shared.data_spec import Source
from shared.sources.arrays import NpySource, NpzSource
from shared.sources.files import CsvSource, ImagesSource, ParquetSource, TfrecordSource
from worker.training.sources import csvfile, flat, images, parquet, tfrecord
from worker.training.sources.place import Place
from worker.training.sources.reader import Reader


def opened(
    source: Source,
    where: Place,
    *,
    labels: bool,
    class_names: tuple[str, ...] | None = None,
    seed: int | None = None,
) -> Reader | None:
    """Open a source; None for one that can only be loaded whole. Raise `BadData`.

    Headers and indices are read and checked, rows are not. Labels and sample weights are there only when
    `labels` are wanted; `class_names` are those of labels that are words, unless the source names its own.
    Images are shuffled by `seed`.
    """
    if isinstance(source, NpzSource | NpySource):
        return flat.opened(source, where, labels=labels)
    if not isinstance(source, CsvSource | ParquetSource | TfrecordSource | ImagesSource):
        return None
    names = tuple(source.class_names) if source.class_names is not None else class_names
    if isinstance(source, CsvSource):
        return csvfile.opened(source, where, labels=labels, class_names=names)
    if isinstance(source, ParquetSource):
        return parquet.opened(source, where, labels=labels, class_names=names)
    if isinstance(source, TfrecordSource):
        return tfrecord.opened(source, where, labels=labels, class_names=names)
    return images.opened(source, where, labels=labels, class_names=names, seed=seed)
