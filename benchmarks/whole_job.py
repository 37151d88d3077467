"""A whole train job against the same script run by hand: `.venv/bin/python benchmarks/whole_job.py --epochs 3`.

The script's time holds what a person waits for: starting Python, importing Keras, loading, training
with validation. The job's time runs from the submit to `succeeded` on a warm worker.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fitq
from standalone.stack import answers

ROOT = Path(__file__).resolve().parent.parent

PLAIN = """
import os, sys, time
began = float(sys.argv[1])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from pathlib import Path
import keras
from shared.sources.arrays import DatasetSource
from worker.training import datasets
name, epochs, units = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
folder = Path(os.environ["FITQ_DATASETS"]) if os.environ.get("FITQ_DATASETS") else None
parts = [DatasetSource(dataset=name, split=split) for split in ("train", "test")]
(x, y), (tx, ty) = (datasets.load(part, folder, 20.0) for part in parts)
top = 255.0 if name == "fashion_mnist" else 16.0
x, tx = x / top, tx / top
keras.utils.set_random_seed(0)
layers = [keras.Input(x.shape[1:]), keras.layers.Flatten(), keras.layers.Dense(units, activation="relu")]
model = keras.Sequential([*layers, keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
model.fit(x, y, epochs=epochs, batch_size=32, validation_data=(tx, ty), verbose=0)
print(time.time() - began)
"""


def spec(name: str, epochs: int, units: int) -> dict:
    """Return the job that does the same."""
    fashion = name == "fashion_mnist"
    layers = [{"Flatten": {}}, {"Dense": {"units": units, "activation": "relu"}}, {"Dense": {"units": 10}}]
    return {
        "kind": "train",
        "seed": 0,
        "model": {"layers": layers, "input_shape": [28, 28] if fashion else [8, 8]},
        "data": {
            "train": {"dataset": name, "split": "train"},
            "validation": {"dataset": name, "split": "test"},
            "scale": 1 / 255 if fashion else 1 / 16,
        },
        "compile": {
            "optimizer": "adam",
            "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
            "metrics": ["accuracy"],
        },
        "fit": {"epochs": epochs, "batch_size": 32},
    }


def plain(name: str, epochs: int, units: int) -> float:
    """Run the script by hand; return its seconds."""
    command = [sys.executable, "-c", PLAIN, str(time.time()), name, str(epochs), str(units)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def job(queue: fitq.Queue, name: str, epochs: int, units: int) -> tuple[float, float]:
    """Run the job; return seconds from its submit to its end, and to its claim."""
    began = time.time()
    done = queue.submit(spec(name, epochs, units)).wait().raise_for_state()
    whole = time.time() - began
    return whole, _seconds(done.data["created_at"], done.data["started_at"])


def _seconds(start: str, end: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    name = "fashion_mnist" if os.environ.get("FITQ_DATASETS") else "digits"
    units = 128 if name == "fashion_mnist" else 64
    home = Path(tempfile.mkdtemp(prefix="fitq-benchmark-"))
    environment = {**os.environ, "FITQ_HOME": str(home)}
    log = (home / "up.log").open("wb")
    up = subprocess.Popen([sys.executable, "-m", "standalone", "--port", "0"], cwd=ROOT, env=environment, stderr=log)
    try:
        while not (home / "up.json").exists() or not answers(
            json.loads((home / "up.json").read_text())["url"] + "/readyz"
        ):
            time.sleep(0.2)
        with fitq.connect(json.loads((home / "up.json").read_text())["url"]) as queue:
            rounds = [
                (plain(name, asked.epochs, units), *job(queue, name, asked.epochs, units)) for _ in range(asked.rounds)
            ]
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()
    print(f"{name}, {asked.epochs} epochs, {asked.rounds} rounds, {os.cpu_count()} cores")
    for title, column in (("script by hand", 0), ("job, submit to end", 1), ("job, submit to claim", 2)):
        times = [one[column] for one in rounds]
        print(f"{title:22} median {statistics.median(times):8.3f} s   all {', '.join(f'{t:.3f}' for t in times)}")
    print(f"script / job           {statistics.median(r[0] / r[1] for r in rounds):.2f} x")


if __name__ == "__main__":
    main()
