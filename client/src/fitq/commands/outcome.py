"""What jobs came to, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from fitq import ids, terminal, text
from fitq.story import Story

#: Lines of a table, at most: of the epochs the last, of the predictions the first.
ROWS = 20


def show_epochs(epochs: Mapping[int, Mapping[str, float | None]]) -> None:
    """Print the last epochs, counted from 1 as Keras's progress does."""
    names = list(dict.fromkeys(name for values in epochs.values() for name in values))
    last = list(epochs)[-ROWS:]
    if len(last) < len(epochs):
        terminal.say(f"The last {ROWS} of {len(epochs)} epochs:")
    rows = [
        [str(epoch + 1), *(text.number(epochs[epoch][name]) if name in epochs[epoch] else "" for name in names)]
        for epoch in last
    ]
    terminal.table(["EPOCH", *names], rows, right=names)


def show_ends(jobs: Sequence[Mapping[str, Any]], stories: Sequence[Story]) -> None:
    """Print a line for each job that was watched: how it ended, and the metrics of its last epoch."""
    rows = [_end(job, story) for job, story in zip(jobs, stories, strict=True)]
    terminal.table(["ID", "STATE", "EPOCHS", "TOOK", "METRICS", "NAME"], rows, right=["EPOCHS", "TOOK"])


def _end(job: Mapping[str, Any], story: Story) -> list[str]:
    ran = text.ran_s(job)
    done = f"{story.done}/{max(story.total, story.done)}" if story.total else ""
    shown = ids.short(job["id"]) if terminal.is_narrow() else job["id"]
    last = text.metrics(story.epochs.get(story.done - 1, {}))
    return [shown, job["state"], done, "" if ran is None else text.span(ran), last, job.get("name") or ""]


def show_result(result: Mapping[str, Any]) -> None:
    """Print a result's value: predictions as a table, anything else as names and values."""
    value = result.get("value") or {}
    predicted = predictions(value)
    if predicted:
        terminal.table(["ROW", *(f"{place}." for place in range(1, len(predicted[0])))], predicted[:ROWS])
        if len(predicted) > ROWS:
            terminal.say(f"The first {ROWS} of {len(predicted)} rows; `-o json` and predictions.npz have all of them.")
        return
    terminal.fields(rows_of(value))


def predictions(value: Mapping[str, Any]) -> list[list[str]]:
    """Return a line for each predicted row: its number, and its classes, the likeliest first."""
    if value.get("top"):
        return [[str(row), *map(_class, classes)] for row, classes in enumerate(value["top"])]
    if value.get("classes"):
        return [[str(row), str(number)] for row, number in enumerate(value["classes"])]
    return []


def _class(one: Mapping[str, Any]) -> str:
    likely = one.get("probability", one.get("score"))
    return f"{one.get('name', one.get('class'))} ({text.number(likely)})"


def rows_of(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a value's names and texts; what is not finite by its kind, what is empty not at all."""
    kinds = value.get("value_kinds") or {}
    rest = {name: one for name, one in value.items() if name != "value_kinds" and one not in (None, {}, [])}
    rows = text.flat(rest) if rest else []
    return [(name, kinds.get(name.rpartition(".")[2], said) if said == "-" else said) for name, said in rows]
