"""The forward pass of one library, on a batch of random tokens without padding."""

from pathlib import Path

import numpy as np

from benchmarks.children.engines import device_of, open_engine, peak_flops
from benchmarks.children.result import read_settings, write_result
from benchmarks.children.timing import time_calls
from benchmarks.memory import peak_resident_bytes


def main() -> None:
    settings = read_settings()
    engine, precision = settings["engine"], settings["precision"]
    forward = open_engine(engine, Path(settings["folder"]), precision, settings["threads"])
    shape = settings["texts"], settings["length"]
    ids = np.random.default_rng(0).integers(0, settings["sizes"]["vocab_size"], shape, np.int32)
    mask = np.ones_like(ids)
    first, seconds = time_calls(lambda: forward(ids, mask), settings["repeats"])
    result = {"first_s": first, "call_s": seconds, "peak_bytes": peak_resident_bytes()}
    result["device"] = device_of(engine)
    write_result(result | {"matmul_flops": peak_flops(engine, precision)})


if __name__ == "__main__":
    main()
