"""What fixes the last bits of a result: chosen by a job's first attempt, used by all of them.

XLA or not, one thread or two within an operation, other versions, other vector instructions: each
changes the order in which floating-point numbers are added, and so the last bits.
"""

import platform
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from worker.wire import Assignment

#: The vector instructions that decide which kernels oneDNN and Eigen take.
_INSTRUCTIONS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16"}
    | {"avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm"}
)


def choose(assignment: Assignment) -> dict[str, Any]:
    """Choose for a job's first attempt. The same on equal machines."""
    wants_gpu = assignment.spec.get("resources", {}).get("lane") == "gpu"
    device = "gpu" if wants_gpu and tf.config.list_physical_devices("GPU") else "cpu"
    return {
        "plan": "step",
        "device": device,
        "intra_op_threads": assignment.threads,
        "inter_op_threads": assignment.threads,
        # As Keras's jit_compile="auto": XLA on accelerators only.
        "jit": device == "gpu",
        # Exact resume outweighs what it costs: on a busy 2-core machine, Fashion-MNIST's small network was
        # slower with it in three of three runs (whole job 8, 14 and 44 %), of which load is an unknown part.
        "deterministic": device == "cpu",
        **_machine(),
    }


def _machine() -> dict[str, Any]:
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpu": _instructions(),
    }


def _instructions() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    flags = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return " ".join(sorted(_INSTRUCTIONS.intersection(flags.partition(":")[2].split())))


def apply(numerics: dict[str, Any]) -> tuple[str, ...]:
    """Use `numerics` in this process; before its first operation. Return why the bits may differ, one sentence each."""
    reasons = _threads(numerics) + _device(numerics)
    if numerics["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    here = _machine()
    return reasons + tuple(
        f"{name} was {numerics[name]!r} when the job started and is {here[name]!r} here."
        for name in here
        if numerics.get(name) != here[name]
    )


def _threads(numerics: dict[str, Any]) -> tuple[str, ...]:
    threading = tf.config.threading
    wanted = (numerics["intra_op_threads"], numerics["inter_op_threads"])
    here = (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    if wanted == here:
        return ()
    try:
        threading.set_intra_op_parallelism_threads(wanted[0])
        threading.set_inter_op_parallelism_threads(wanted[1])
    except RuntimeError:
        return (
            f"The job started with {wanted[0]} threads, and TensorFlow had started here with {here[0] or 'its own'}.",
        )
    return ()


def _device(numerics: dict[str, Any]) -> tuple[str, ...]:
    if numerics["device"] == "gpu":
        found = tf.config.list_physical_devices("GPU")
        return () if found else ("The job started on a GPU and this machine has none.",)
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        if tf.config.list_logical_devices("GPU"):
            return ("TensorFlow had started on a GPU before it could be hidden.",)
    return ()
