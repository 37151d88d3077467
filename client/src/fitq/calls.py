"""Keras's own `fit`, `evaluate` and `predict`, as calls that a queue can take. Pure.

The signatures are Keras's, argument by argument, with fitq's own behind them by keyword only. What becomes of a call is
decided below: `Queue` waits for its outcome, `Submit` returns its job.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Fitted = TypeVar("Fitted")
Evaluated = TypeVar("Evaluated")
Predicted = TypeVar("Predicted")


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a job has beside Keras's arguments."""

    name: str | None = None
    tags: Mapping[str, str] | None = None
    priority: int = 0
    #: As in the job spec: lane, memory_mb, stall_limit_s.
    resources: Mapping[str, Any] | None = None
    #: Seeds the order of shuffled data; the model brings its weights and the seeds of its layers along.
    seed: int | None = None
    #: Seconds that the job may run.
    timeout_s: float | None = None
    #: MiB that one data set or generator may take when it is read into memory to be sent.
    max_dataset_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One call of `fit`."""

    model: Any
    x: Any
    y: Any
    batch_size: int | None
    epochs: int
    verbose: str | int
    callbacks: Any
    validation_split: float
    validation_data: Any
    shuffle: Any
    class_weight: Mapping[int, float] | None
    sample_weight: Any
    initial_epoch: int
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_batch_size: int | None
    validation_freq: int
    extras: Extras


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """One call of `evaluate`."""

    model: Any
    x: Any
    y: Any
    batch_size: int | None
    verbose: str | int
    sample_weight: Any
    steps: int | None
    callbacks: Any
    return_dict: bool
    extras: Extras


@dataclass(frozen=True, kw_only=True)
class Predict:
    """One call of `predict`."""

    model: Any
    x: Any
    batch_size: int | None
    verbose: str | int
    steps: int | None
    callbacks: Any
    extras: Extras


#: One call of any of them.
Call = Fit | Evaluate | Predict


class Calls(ABC, Generic[Fitted, Evaluated, Predicted]):
    """Whoever takes Keras's calls."""

    def fit(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,  # noqa: FBT002 - Keras's own signature
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        resources: Mapping[str, Any] | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
        max_dataset_mb: int | None = None,
    ) -> Fitted:
        """Train the model on a worker, as `model.fit` would here. Raise `CannotTravel` for what cannot be sent."""
        call = Fit(
            model=model,
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
            extras=Extras(
                name=name,
                tags=tags,
                priority=priority,
                resources=resources,
                seed=seed,
                timeout_s=timeout_s,
                max_dataset_mb=max_dataset_mb,
            ),
        )
        outcome: Fitted = self._take(call)
        return outcome

    def evaluate(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,  # noqa: FBT001, FBT002 - Keras's own signature
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        resources: Mapping[str, Any] | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
        max_dataset_mb: int | None = None,
    ) -> Evaluated:
        """Measure the model on a worker, as `model.evaluate` would here. Raise `CannotTravel`."""
        call = Evaluate(
            model=model,
            x=x,
            y=y,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
            extras=Extras(
                name=name,
                tags=tags,
                priority=priority,
                resources=resources,
                seed=seed,
                timeout_s=timeout_s,
                max_dataset_mb=max_dataset_mb,
            ),
        )
        outcome: Evaluated = self._take(call)
        return outcome

    def predict(
        self,
        model: Any,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        resources: Mapping[str, Any] | None = None,
        seed: int | None = None,
        timeout_s: float | None = None,
        max_dataset_mb: int | None = None,
    ) -> Predicted:
        """Predict with the model on a worker, as `model.predict` would here. Raise `CannotTravel`."""
        call = Predict(
            model=model,
            x=x,
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            callbacks=callbacks,
            extras=Extras(
                name=name,
                tags=tags,
                priority=priority,
                resources=resources,
                seed=seed,
                timeout_s=timeout_s,
                max_dataset_mb=max_dataset_mb,
            ),
        )
        outcome: Predicted = self._take(call)
        return outcome

    @abstractmethod
    def _take(self, call: Call) -> Any:
        """Do with a call what is to be done with it; the result is of the call's own type."""
