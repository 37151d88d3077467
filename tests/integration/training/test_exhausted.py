"""Memory that ran out within TensorFlow gets the class of whose memory it was."""

import pytest
import tensorflow as tf

from worker import runner

#: What TensorFlow says when it is a GPU's memory that is full, shortened.
GPU = "OOM when allocating tensor with shape[8192,8192] and type float on /device:GPU:0 by allocator GPU_0_bfc"


def test_the_machines_memory_is_told_from_the_gpus():
    with pytest.raises(tf.errors.ResourceExhaustedError) as caught, tf.device("CPU:0"):
        tf.fill([1 << 46], 1.0)
    code, message = runner._exhausted(caught.value)
    assert code == "oom_host"
    assert "memory_mb" in message

    code, message = runner._exhausted(tf.errors.ResourceExhaustedError(None, None, GPU))
    assert code == "oom_gpu"
    assert "batch_size" in message
