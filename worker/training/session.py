"""One attempt at training: the epochs, and the checkpoints between and within them.

The order at the end of an epoch is a promise: the spec's callbacks, the epoch is said, the checkpoint with
the callbacks' state and the history is written and said, and only then training may stop.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from shared import failpoints, store
from shared.errors import BadData, BadSpec, CheckpointCorrupt, NaNLoss
from shared.failpoints import Point
from shared.spec import TrainSpec
from worker.training import batches, callbacks, checkpoints, engine, pulse
from worker.training.checkpoints import Contents, Position, Progress
from worker.training.files import Files
from worker.training.port import Report
from worker.training.pulse import Pulse
from worker.training.samples import Samples, Streamed
from worker.training.seals import Seals
from worker.wire import Assignment, Checkpointed, Epoch, Resumable, Resumed

#: Steps of an epoch between two looks at the loss for NaN: by count and not by time, so that what is
#: reported does not depend on the machine's speed.
NAN_STEPS = 64


class Session:
    """A compiled model in training: its position, its callbacks, its data."""

    def __init__(
        self,
        assignment: Assignment,
        spec: TrainSpec,
        model: Any,
        train: Samples | Streamed,
        validation: Samples | Streamed | None,
        report: Report,
        about: dict[str, Any],
        seals: Seals,
        inexact: Sequence[str] = (),
    ) -> None:
        """Make the callbacks and the loops; nothing runs yet. Raise `BadSpec`.

        `about` is what each checkpoint says about the model besides: architecture and compile. `seals` are those of
        the files that the data comes from, `inexact` why this attempt may give other bits.
        """
        self._about, self._seals = about, seals
        self.inexact = list(inexact)
        self.assignment, self.spec, self.model, self.report = assignment, spec, model, report
        fit = spec.fit
        self.class_names = train.class_names
        self._order = batches.order(
            len(train), fit.batch_size, train.batches, shuffle=spec.data.shuffle, seed=assignment.seed
        )
        self._steps = self._order.steps(fit.steps_per_epoch, repeat=spec.data.repeat)
        self._training = engine.loop(
            model, model.train_step, train, self._order, "The model cannot be trained on the data"
        )
        self._validating = None
        if validation is not None:
            order = batches.order(len(validation), fit.validation_batch_size or fit.batch_size, validation.batches)
            what = "The model cannot be validated on the data"
            self._validating = engine.loop(model, model.test_step, validation, order, what)
        self.stream = callbacks.EpochStream(report)
        self.files = Files(assignment, report)
        self.callbacks = keras.callbacks.CallbackList(
            [*callbacks.build(spec.callbacks, model, self.files), self.stream],
            add_history=True,
            model=model,
            epochs=fit.epochs,
            steps=self._steps,
            verbose=0,
        )
        self._batch_hooks = callbacks.wants_train_batches(self.callbacks.callbacks)
        self._test_hooks = callbacks.wants_test_batches(self.callbacks.callbacks)
        self.pulse = Pulse(report, epochs=fit.epochs, steps=self._steps)
        self.position = Position(0, fit.initial_epoch)
        self.finished_as: str | None = None
        self.weights_sha256 = ""
        self._saved_at = self.position
        self._saved_time = time.monotonic()
        self._compiled = False

    # --- where it begins ---

    def begin(self) -> None:
        """Resume from the newest checkpoint that is sound, and say from where."""
        found, skipped = self._newest()
        self._seals.start()
        self.model.stop_training = False
        self.callbacks.on_train_begin()
        if found is not None:
            self._restore(*found)
        epoch = self.position.epoch if self.position.step else 0
        self.report.say(Resumed(epoch, self.position.step, tuple(skipped)))
        if found is not None:
            # What the attempt before did not come to say.
            self.files.publish(final=True)

    def _newest(self) -> tuple[tuple[Resumable, Contents] | None, list[str]]:
        """Return the newest sound checkpoint, and why newer ones were passed over.

        Raise `BadData` where the data is not what it was, `CheckpointCorrupt` where an ended job cannot go on.
        """
        skipped = []
        for candidate in sorted(self.assignment.checkpoints, key=_newest_last, reverse=True):
            try:
                contents = checkpoints.read(Path(self.assignment.volume), candidate.file)
                self._check(contents)
                self.files.restore(contents.progress.files)
            except CheckpointCorrupt as error:
                if candidate.inherited:
                    # Before it there is nothing: its weights alone are not the training that was to go on.
                    raise CheckpointCorrupt(f"The job cannot go on from {candidate.name}: {error.message}") from error
                skipped.append(f"{candidate.name} was passed over: {error.message}")
            else:
                return (candidate, contents), skipped
        self.files.restore({})
        return None, skipped

    def _check(self, contents: Contents) -> None:
        checkpoints.check(contents, self.model)
        held = len(contents.progress.callbacks)
        if held != len(self.callbacks.callbacks):
            raise CheckpointCorrupt(f"It holds {held} callbacks' states; the job has {len(self.callbacks.callbacks)}.")
        self._seals.compare(contents.progress.data)
        if contents.progress.rows != self._order.rows:
            raise BadData(
                f"The training data had {contents.progress.rows} rows when the job was interrupted "
                f"and has {self._order.rows} now; it cannot go on."
            )

    def _restore(self, candidate: Resumable, contents: Contents) -> None:
        progress = contents.progress
        if contents.manifest["metrics"]:
            checkpoints.assign(contents, "metrics", self.model.metrics_variables)
        checkpoints.apply(contents, self.model)
        callbacks.restore(self.callbacks.callbacks, progress.callbacks, contents.arrays)
        # Who goes on with an ended job wants more of it, also where a callback had stopped it.
        self.model.stop_training = progress.stop_training and not candidate.inherited
        self.position = self._saved_at = progress.position
        self.weights_sha256 = contents.manifest["weights_sha256"]
        self.finished_as = candidate.name if progress.finished else None
        self._inherit_doubts(progress)

    def _inherit_doubts(self, progress: Progress) -> None:
        """Go on with the reasons for which the bits may differ, and look for one in the order of the rows."""
        reasons = list(progress.inexact)
        if progress.plan not in {"", self._training.plan}:
            reasons.append(
                f"The training data was {progress.plan} when the job was interrupted and is {self._training.plan} now: "
                "its rows come in another order."
            )
        self.inexact = list(dict.fromkeys(reasons + self.inexact))

    # --- epochs ---

    def train(self) -> str | None:
        """Run the epochs that are left. Return the mode in which training was stopped, None when it is complete."""
        while self.position.epoch < self.spec.fit.epochs:
            if self.model.stop_training and not self.position.step_in_epoch:
                break
            if (mode := self._epoch(self.position.epoch)) is not None:
                return mode
        return None

    def _epoch(self, epoch: int) -> str | None:
        if not self.position.step_in_epoch:
            self.model.reset_metrics()
            # After a resume within the epoch it has been called: what it did is in the callbacks' states.
            self.callbacks.on_epoch_begin(epoch)
        if not self._run_steps(epoch):
            return "release"
        logs = self._logs(epoch)
        if logs is None:
            return "release"
        self._end_callbacks(epoch, logs)
        self._refuse_nan(epoch, self.position.step_in_epoch, logs)
        return self._end_epoch(epoch, logs)

    def _run_steps(self, epoch: int) -> bool:
        """Run the epoch's steps; return False when released in between, with the checkpoint written."""
        self.pulse.phase("training" if self._compiled else "compiling", epoch=epoch, step=self.position.step_in_epoch)
        while self.position.step_in_epoch < self._steps and not self.model.stop_training:
            self._seals.check()
            if self.report.stop_mode() == "release":
                self._save_within(checkpoints.values(self.model.metrics_variables))
                return False
            if self._save_due():
                self._save_within(checkpoints.values(self.model.metrics_variables))
                self.pulse.phase("training", epoch=epoch, step=self.position.step_in_epoch)
            self._run_step(epoch)
        return True

    def _save_due(self) -> bool:
        """Whether somebody asked for a checkpoint, or the last one is as old as the spec allows."""
        every_s = self.spec.checkpoint.every_s
        old = every_s is not None and time.monotonic() - self._saved_time >= every_s
        # What is asked for where the last checkpoint is waits for the next step.
        return old or (self.position != self._saved_at and self.report.save_asked())

    def _run_step(self, epoch: int) -> None:
        done = self.position.step_in_epoch
        if self._batch_hooks:
            self.callbacks.on_train_batch_begin(done)
        logs = self._training.run(self.position.step)
        self.position = Position(self.position.step + 1, epoch, done + 1)
        if self._batch_hooks:
            self.callbacks.on_train_batch_end(done, logs)
        if not self._compiled:
            self._compiled = True
            self.pulse.phase("training", epoch=epoch, step=done + 1)
        self.pulse.beat(epoch, done + 1, partial(engine.plain, logs))
        if (done + 1) % NAN_STEPS == 0 and self._nan(logs):
            self._settle()
            self.report.say(Epoch(epoch, engine.plain(logs)))
            self._refuse_nan(epoch, done + 1, engine.plain(logs))

    def _logs(self, epoch: int) -> dict[str, float] | None:
        """Return the epoch's metrics, validation included; None when released while validating."""
        self._settle()
        logs = engine.logs_of(self.model)
        if self._validating is None or (epoch + 1) % self.spec.fit.validation_freq:
            return logs
        # Validation uses the same metrics: whoever goes on from here needs those of the training steps.
        kept = checkpoints.values(self.model.metrics_variables)
        if self._save_due():
            self._save_within(kept)
        self.pulse.phase("validating", epoch=epoch, step=self.position.step_in_epoch)
        measured = engine.evaluate(
            self.model,
            self._validating,
            self.report,
            self.pulse,
            steps=self._validating.order.steps(self.spec.fit.validation_steps, repeat=self.spec.data.repeat),
            epoch=epoch,
            hooks=self.callbacks,
            batch_hooks=self._test_hooks,
        )
        if isinstance(measured, str):
            self._save_within(kept)
            return None
        return logs | {f"val_{name}": value for name, value in measured.items()}

    def _end_callbacks(self, epoch: int, logs: dict[str, float]) -> None:
        try:
            self.callbacks.on_epoch_end(epoch, logs)
        except ValueError as error:
            # Keras finds out only now that it cannot tell whether more of a monitored metric is better.
            raise BadSpec(f"A callback failed after epoch {epoch}: {error}") from error

    def _end_epoch(self, epoch: int, logs: dict[str, float]) -> str | None:
        self.position = Position(self.position.step, epoch + 1)
        mode = self.report.stop_mode()
        last = epoch + 1 >= self.spec.fit.epochs or self.model.stop_training
        if last or mode or (epoch + 1) % self.spec.checkpoint.every_epochs == 0:
            self._save(f"epoch-{epoch}", logs=logs)
        return None if last else mode

    def _nan(self, logs: dict[str, Any]) -> bool:
        return self.spec.fit.on_nan == "fail" and callbacks.is_nan(float(logs["loss"]))

    def _refuse_nan(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        for name in ("loss", "val_loss"):
            if self.spec.fit.on_nan == "fail" and callbacks.is_nan(logs.get(name)):
                raise NaNLoss(
                    f"{name} became NaN in epoch {epoch}, by step {step} of {self._steps}. Lower the learning rate, "
                    'scale the data, or look for NaN in it; "on_nan": "continue" trains on.'
                )

    def _settle(self) -> None:
        """Wait until the data is known to be what it was: nothing counts before. Raise `BadData` when it is not."""
        while not self._seals.settled(pulse.INTERVAL_S):
            self.pulse.phase("checking data", epoch=self.position.epoch, step=self.position.step_in_epoch)

    # --- where it ends ---

    def end(self) -> str:
        """End training as Keras does; return the name of the checkpoint that holds the final weights."""
        if self.finished_as is not None:
            return self.finished_as
        self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        self.callbacks.on_train_end(self.stream.last)
        final = f"epoch-{self.position.epoch - 1}"
        if checkpoints.digest(self.model) != self.weights_sha256:
            self._save("final", finished=True)
            final = "final"
        self.files.publish(final=True)
        return final

    # --- checkpoints ---

    def _save_within(self, metrics: list[np.ndarray]) -> None:
        """Write a checkpoint within an epoch, unless the last one is at the same position."""
        if self.position != self._saved_at:
            self._save(f"step-{self.position.step}", metrics=metrics if self.position.step_in_epoch else ())

    def _save(
        self,
        name: str,
        *,
        logs: dict[str, float] | None = None,
        metrics: Sequence[np.ndarray] = (),
        finished: bool = False,
    ) -> None:
        self._settle()
        self.pulse.phase("saving", epoch=self.position.epoch, step=self.position.step_in_epoch)
        states, arrays = callbacks.capture(self.callbacks.callbacks)
        progress = Progress(
            self.position,
            self._order.rows,
            self.model.stop_training,
            finished,
            states,
            self.files.state(),
            self._seals.state(),
            self._training.plan,
            self.inexact,
        )
        self.weights_sha256 = checkpoints.digest(self.model)
        file = checkpoints.write(
            Path(self.assignment.volume),
            store.checkpoint_path(self.assignment.job_id, self.assignment.attempt, name),
            self.model,
            progress,
            metrics=list(metrics),
            arrays=arrays,
            weights_sha256=self.weights_sha256,
            about=self._about,
        )
        failpoints.reach(Point.AFTER_RENAME_BEFORE_ROW)
        self._saved_at = self.position
        self._saved_time = time.monotonic()
        monitor, value, greater = self._monitored(logs)
        self.report.say(
            Checkpointed(
                name, self.position.epoch, self.position.step, file, self.weights_sha256, monitor, value, greater
            )
        )
        self.files.publish()

    def _monitored(self, logs: dict[str, float] | None) -> tuple[str | None, float | None, bool]:
        if logs is None:
            return None, None, False
        chosen = self.spec.checkpoint
        monitor = chosen.monitor or ("loss" if self._validating is None else "val_loss")
        greater = callbacks.greater_is_better(monitor, chosen.mode, self.model)
        return monitor, logs.get(monitor), greater


def _newest_last(one: Resumable) -> tuple[int, int, bool]:
    return one.step, one.epoch, one.name == "final"
