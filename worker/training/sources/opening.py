"""From a source's description to a reader of its rows."""

from shared.data_spec import Source
from shared.sources.arrays import NpySource, NpzSource
from worker.training.sources import flat
from worker.training.sources.place import Place
from worker.training.sources.reader import Reader


def opened(source: Source, where: Place, *, labels: bool) -> Reader | None:
    """Open a source; None for one that can only be loaded whole. Raise `BadData`.

    Headers and indices are read and checked, rows are not. Labels and sample weights are there only when
    `labels` are wanted.
    """
    if isinstance(source, NpzSource | NpySource):
        return flat.opened(source, where, labels=labels)
    return None
