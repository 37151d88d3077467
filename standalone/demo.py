"""`make demo`: the main job, end to end, on the embedded stack; everything it starts ends with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

import fitq
from shared import db, settings
from shared.errors import Misconfigured
from shared.settings import Settings
from standalone import datasets
from standalone.stack import answers

#: Seconds for the stack to be up, with a worker that has imported Keras.
_READY_S = 120.0

_FASHION = {
    "name": "fashion-mlp",
    "input_shape": [28, 28],
    "units": 128,
    "dataset": "fashion_mnist",
    "scale": 1 / 255,
    "classes": ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
}
_DIGITS = {
    "name": "digits-mlp",
    "input_shape": [8, 8],
    "units": 64,
    "dataset": "digits",
    "scale": 1 / 16,
    "classes": [str(digit) for digit in range(10)],
}

console = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the demo; leave with the first failing step's status."""
    try:
        config = settings.load()
        with _stack(config) as url:
            _walk(config, url)
    except Misconfigured as error:
        sys.exit(f"make demo: {error.message}")
    except KeyboardInterrupt:
        sys.exit(130)


def _walk(config: Settings, url: str) -> None:
    facts = _choose(config)
    folder = config.home / "demo"
    folder.mkdir(exist_ok=True)
    with fitq.connect(url) as queue:
        trained = _submit(queue, url, folder / "train.json", train_spec(facts), "Train a model")
        model = {"job": trained.id}
        test = {"dataset": facts["dataset"], "split": "test"}
        _submit(
            queue, url, folder / "evaluate.json", evaluate_spec(model, test), "Measure it on images it has not seen"
        )
        predict = predict_spec(model, {**test, "rows": [0, 5]}, facts["classes"])
        _submit(queue, url, folder / "predict.json", predict, "Predict five of them")
    _show_history(config, trained.id)
    _show_ways_on(config, trained.id)


def train_spec(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the demo's train job."""
    layers = [{"Flatten": {}}, {"Dense": {"units": facts["units"], "activation": "relu"}}, {"Dense": {"units": 10}}]
    return {
        "kind": "train",
        "name": facts["name"],
        "seed": 0,
        "model": {"layers": layers, "input_shape": facts["input_shape"]},
        "data": {
            "train": {"dataset": facts["dataset"], "split": "train"},
            "validation": {"dataset": facts["dataset"], "split": "test"},
            "scale": facts["scale"],
        },
        "compile": {
            "optimizer": {"Adam": {"learning_rate": 0.001}},
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        "fit": {"epochs": 10, "batch_size": 32},
        "tags": {"from": "demo"},
    }


def evaluate_spec(model: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """Return the demo's evaluate job."""
    return {"kind": "evaluate", "name": "demo-test", "model": model, "data": {"test": test}, "tags": {"from": "demo"}}


def predict_spec(model: dict[str, Any], rows: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Return the demo's predict job."""
    ask = {"head": "softmax", "top_k": 1, "class_names": classes, "tags": {"from": "demo"}}
    return {"kind": "predict", "name": "demo-predict", "model": model, "data": {"input": rows}, **ask}


def _choose(config: Settings) -> dict[str, Any]:
    """Return Fashion-MNIST's facts where it can be had, else those of the bundled digits; say which."""
    with console.status("Looking for Fashion-MNIST (cache, FITQ_DATASETS, network)…"):
        missing = datasets.fetch("fashion_mnist", config)
    if missing is None:
        console.print("Data: [bold]Fashion-MNIST[/], 60,000 + 10,000 images of clothes.")
        return _FASHION
    console.print(f"Fashion-MNIST is not to be had here ({missing}).")
    console.print("Data: [bold]scikit-learn's handwritten digits[/], 1,797 real images that come with the library.")
    return _DIGITS


def _submit(queue: fitq.Queue, url: str, path: Path, spec: dict[str, Any], title: str) -> fitq.Job:
    """Submit a job through the command line, as a user would, and watch it to its end."""
    path.write_text(json.dumps(spec, indent=2) + "\n")
    console.print(f"\n[bold]{title}[/]\n[dim]$ fitq submit {os.path.relpath(path)} --watch[/]")
    command = [sys.executable, "-m", "fitq", "submit", str(path), "--watch"]
    status = subprocess.run(command, env=settings.environment(FITQ_URL=url), check=False).returncode  # noqa: S603
    if status:
        raise SystemExit(status)
    return next(iter(queue.jobs(name=spec["name"], limit=1)))


def _show_history(config: Settings, job_id: str) -> None:
    """Print the job's history as a query of SQL and its answer."""
    query = (
        "SELECT epoch, name, round(CAST(value AS numeric), 4) AS value, attempt, recorded_at\n"
        f"FROM v_epoch_metrics WHERE job_id = '{job_id}'\nAND name IN ('loss', 'val_accuracy') ORDER BY epoch, name"
    )
    console.print(f"\n[bold]Its history, in SQL[/]\n[dim]{query}[/]")
    engine = db.connect(config.database_url)
    with db.read(engine) as connection:
        result = connection.execute(sa.text(query))
        table = Table(*result.keys())
        for row in result:
            table.add_row(*map(str, row))
    engine.dispose()
    Console().print(table)


def _show_ways_on(config: Settings, job_id: str) -> None:
    again = os.path.relpath(config.home / "demo" / "train.json")
    console.print(f"""
[bold]Where things are[/]
  {config.home}/fitq.db          the history (SQLite; any SQL tool reads it)
  {config.volume_path}/jobs/{job_id}/   checkpoints and logs
  {config.home}/demo/            the three jobs that were submitted

[bold]What to try next[/]
  make up                                        the same stack, until Ctrl-C; then, in another shell:
  .venv/bin/fitq jobs                            what ran
  .venv/bin/fitq metrics {job_id}   its epochs
  .venv/bin/fitq submit {again} --watch   once more; kill -9 its runner meanwhile, and look
""")


@contextmanager
def _stack(config: Settings) -> Iterator[str]:
    """Give the address of the stack of this home: the one that runs there, or one of our own."""
    running = _running(config)
    if running:
        console.print(f"Using the stack that runs at {running}.")
        yield running
        return
    log = config.home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    tether = [sys.executable, "-m", "standalone.tether", str(os.getpid())]
    command = [*tether, sys.executable, "-m", "standalone", "--port", "0"]
    with log.open("ab") as output:
        up = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        with console.status("Starting database, broker, API, worker and control…"):
            url = _wait_until_ready(config, up, log)
        console.print(f"fitq is up at {url}, with a warm worker.")
        yield url
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()


def _running(config: Settings) -> str | None:
    try:
        url = str(json.loads((config.home / "up.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
    return url if answers(f"{url}/healthz") else None


def _wait_until_ready(config: Settings, up: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if up.poll() is not None:
            raise Misconfigured(f"the stack ended at once; see {log}:\n{log.read_text()[-500:]}")
        url = _running(config)
        if url and answers(f"{url}/readyz"):
            return url
        time.sleep(0.1)
    raise Misconfigured(f"no worker was ready after {_READY_S:.0f} s; see {config.home / 'logs'}")


if __name__ == "__main__":
    main()
