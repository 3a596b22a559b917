"""Time and memory of `bertjax.load`."""

import time

import jax
import numpy as np
import safetensors  # noqa: F401  both sides begin with all imports done

import bertjax
from benchmarks.children.result import jax_device, read_settings, write_result
from benchmarks.memory import peak_resident_bytes, reset_peak, resident_bytes

load = bertjax.load  # imports what stands behind the name
folder = read_settings()["folder"]
reset_peak()
before = resident_bytes()
began, cpu_began = time.perf_counter(), time.process_time()
checkpoint = load(folder, task="text-classification")
jax.block_until_ready(checkpoint.params)
loaded = time.perf_counter()
total = sum(float(np.asarray(array).sum()) for array in jax.tree.leaves(checkpoint.params))
read, cpu_read = time.perf_counter(), time.process_time()
write_result(
    {
        "load_s": loaded - began,
        "load_and_read_s": read - began,
        "load_and_read_cpu_s": cpu_read - cpu_began,
        "extra_peak_bytes": peak_resident_bytes() - before,
        "sum": total,
        "device": jax_device(),
        "missing": list(checkpoint.report.missing),
    }
)
