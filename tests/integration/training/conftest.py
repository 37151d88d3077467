"""Jobs that run in this process, with a list for a supervisor."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from worker.training import preload  # noqa: F401 - as in a runner, first of all
from worker.training.kinds import ACTIONS
from worker.wire import Artifact, Assignment, Checkpointed, Epoch, Finished, Progress, Resumable, Resumed, Stopped

HERE = Path(__file__).parent
#: Threads of every assignment here.
THREADS = 2
JOB = "job_00000000-0000-7000-8000-000000000001"
#: A model with everything whose state can be forgotten: moments, moving averages, a random generator.
LAYERS = [
    {"Flatten": {}},
    {"Dense": {"units": 16, "activation": "relu"}},
    {"BatchNormalization": {}},
    {"Dropout": {"rate": 0.25}},
    {"Dense": {"units": 10}},
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let TensorFlow's and Keras's own warnings pass; ours would still be errors."""
    for item in items:
        if HERE in item.path.parents:
            for module in ("keras", "tensorflow", "ml_dtypes", "google", "numpy"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:::{module}"))


@pytest.fixture(scope="session", autouse=True)
def _threads_before_the_first_operation() -> None:
    """Set what a runner's first attempt would: TensorFlow takes it only before it has done anything."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)


@dataclass
class Recorder:
    """A report that is a list; asks the job to stop when it is asked for the `stop_at`-th time."""

    stop_at: int | None = None
    mode: str = "release"
    messages: list[Any] = field(default_factory=list)
    asked: int = 0
    saves: tuple[int, ...] | None = None

    def say(self, message: Any) -> None:
        self.messages.append(message)

    def stop_mode(self) -> str | None:
        self.asked += 1
        return self.mode if self.stop_at is not None and self.asked > self.stop_at else None

    def save_asked(self) -> bool:
        return self.saves is not None and self.asked in self.saves

    def all(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def epochs(self) -> dict[int, dict[str, float]]:
        return {message.epoch: message.metrics for message in self.all(Epoch)}

    @property
    def checkpoints(self) -> dict[str, Checkpointed]:
        return {message.name: message for message in self.all(Checkpointed)}

    @property
    def resumed(self) -> Resumed:
        (message,) = self.all(Resumed)
        return message

    @property
    def phases(self) -> list[str]:
        phases = [message.phase for message in self.all(Progress)]
        return [phase for index, phase in enumerate(phases) if index == 0 or phases[index - 1] != phase]

    @property
    def artifact(self) -> Artifact:
        (message,) = self.all(Artifact)
        return message


@dataclass(frozen=True)
class Bench:
    """Runs jobs on a volume of the test's own."""

    volume: Path

    def assignment(self, spec: dict[str, Any], **changes: Any) -> Assignment:
        made = Assignment(JOB, 1, spec["kind"], spec, None, 7, (), None, str(self.volume), 2, None, 5.0)
        return replace(made, **changes)

    def run(self, spec: dict[str, Any], report: Recorder | None = None, **changes: Any) -> tuple[Any, Recorder]:
        report = report or Recorder()
        assignment = self.assignment(spec, **changes)
        return ACTIONS[assignment.kind](assignment, report), report

    def finish(self, spec: dict[str, Any], **changes: Any) -> tuple[Finished, Recorder]:
        ended, report = self.run(spec, **changes)
        assert isinstance(ended, Finished)
        return ended, report

    def stop(self, spec: dict[str, Any], report: Recorder, **changes: Any) -> Stopped:
        ended, _ = self.run(spec, report, **changes)
        assert isinstance(ended, Stopped)
        return ended

    def save(self, name: str, **arrays: np.ndarray) -> str:
        """Save arrays below the volume's data folder, as `.npz` or, a single one, as `.npy`."""
        path = self.volume / "data" / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".npz"):
            np.savez(path, **arrays)
        else:
            np.save(path, *arrays.values())
        return name


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """Return how to get a bench that outlives a test."""
    return lambda: Bench(tmp_path_factory.mktemp("volume"))


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def train() -> Callable[..., dict[str, Any]]:
    """Return a train spec on 190 digits: 152 to learn from (5 batches, the last smaller), 38 to validate on (2)."""

    def make(**changes: Any) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "kind": "train",
            "model": {"layers": LAYERS, "input_shape": [8, 8]},
            "data": {
                "train": {"dataset": "digits", "rows": [0, 190]},
                "validation": {"split": 0.2},
                "scale": 0.0625,
            },
            "compile": {
                "optimizer": {"Adam": {"learning_rate": 0.01}},
                "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
                "metrics": ["accuracy"],
            },
            "fit": {"epochs": 4},
        }
        for name, value in changes.items():
            spec[name] = {**spec.get(name, {}), **value} if isinstance(value, dict) else value
        return spec

    return make


@pytest.fixture
def resumable() -> Callable[..., tuple[Resumable, ...]]:
    """Return recorded checkpoints as a later attempt gets them, the newest first."""

    def make(*saved: Checkpointed) -> tuple[Resumable, ...]:
        return tuple(Resumable(one.name, one.epoch, one.step, one.file) for one in reversed(saved))

    return make
