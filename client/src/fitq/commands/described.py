"""A job from the command line: a file, or nothing, and the flags that override it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from fitq import named, specfile, terminal
from fitq.commands import arguments, flags
from fitq.commands.flags import Flag
from fitq.errors import BadSpecFile


class Description:
    """A job in the making, and which flags made it."""

    def __init__(self, kind: str, file: str | None, values: Mapping[str, Any]) -> None:
        """Begin with the file, if there is one. Raise `BadSpecFile` when it holds a job of another kind."""
        self.spec: dict[str, Any] = specfile.load(file) if file else {"kind": kind}
        #: Where relative local files of the job's own file are.
        self.folder = specfile.folder(file)
        self.flags: list[Flag] = []
        self._values = values
        if self.spec.setdefault("kind", kind) != kind:
            found = self.spec["kind"]
            raise BadSpecFile(f"{file}: this is a job of kind {found!r}; `fitq {kind}` takes those of kind '{kind}'.")

    def fields(self, known: Sequence[Flag]) -> None:
        """Set the fields whose flags are given."""
        for flag, value in flags.given(known, self._values):
            self.set(flag, value)

    def set(self, flag: Flag, value: Any) -> None:
        """Set one field."""
        flags.fill(self.spec, flag.place, value)
        self.flags.append(flag)

    def model(self, flag: Flag, text: str | None) -> None:
        """Set the model: a job's, or the one in a file."""
        values = self._values
        if text is not None:
            with _blaming(flag.shown):
                self.set(flag, self._model(text))
        elif values.get("input_shape") is not None:
            self.set(Flag("--input-shape", ("model", "input_shape"), ""), values["input_shape"])
        if (weights := values.get("weights")) is not None:
            with _blaming("--weights"):
                self.set(Flag("--weights", ("model", "weights"), ""), named.file(weights, terminal.say))
        if (checkpoint := values.get("checkpoint")) is not None:
            name = int(checkpoint) if checkpoint.isdecimal() else checkpoint
            self.set(Flag("--checkpoint", ("model", "checkpoint"), ""), name)

    def _model(self, text: str) -> dict[str, Any]:
        if named.is_model_file(text):
            return named.model(text, self._values.get("input_shape"), terminal.say)
        return {"job": arguments.find(text).id}

    def source(self, flag: Flag, text: str | None, role: str, known: Sequence[Flag] = flags.SOURCE) -> None:
        """Set a source of the data from what the command line calls it and says of it."""
        more = [(one, self._more(one, value)) for one, value in flags.given(flags.at(role, known), self._values)]
        if text is None:
            for one, value in more:
                self.set(one, value)
            return
        with _blaming(flag.shown):
            made = named.source(text, {one.place[-1]: value for one, value in more}, terminal.say)
        self.set(flag, made)
        self.flags += [one for one, _ in more]

    def validation(self, flag: Flag, text: str, labels: str | None) -> None:
        """Set the validation data: what is said of the training data holds for it, too, but for rows and labels."""
        shared = {one.parameter: value for one, value in flags.given(flags.SOURCE, self._values)}
        shared = {key: value for key, value in shared.items() if key not in {"rows", "labels"}}
        with _blaming(flag.shown):
            more = {} if labels is None else {"labels": named.file(labels, terminal.say)}
            self.set(flag, named.source(text, more, terminal.say, shared))

    def _more(self, flag: Flag, value: Any) -> Any:
        if flag.place[-1] != "labels":
            return value
        with _blaming(flag.shown):
            return named.file(value, terminal.say)

    def finished(self, tags: Mapping[str, str], assignments: Sequence[str]) -> dict[str, Any]:
        """Return the job, with its tags and what `--set` says."""
        self.fields(flags.JOB)
        for text in assignments:
            with _blaming("--set"):
                place, value = flags.assignment(text)
            self.set(Flag("--set", place, ""), value)
        if tags:
            known = self.spec.get("tags")
            self.spec["tags"] = {**(known if isinstance(known, dict) else {}), **tags}
        return self.spec


@contextmanager
def _blaming(flag: str) -> Iterator[None]:
    """Turn what is wrong about a value into wrong usage of its flag."""
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint=flag) from error
    except OSError as error:
        raise click.BadParameter(f"{error.filename}: {error.strerror}.", param_hint=flag) from error
