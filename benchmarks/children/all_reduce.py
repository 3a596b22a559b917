"""Add gradients up over two processes that share nothing but a socket; how long that takes."""

import os
import socket
import statistics
import subprocess
import sys
import time

from benchmarks.children.result import read_settings, write_result

REPEATS = 12


def main() -> None:
    settings = read_settings()
    port = os.environ.get("ALL_REDUCE_PORT")
    if port is None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = str(found.getsockname()[1])
        second = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.children.all_reduce", *sys.argv[1:]],
            env={**os.environ, "ALL_REDUCE_PORT": port},
        )
        seconds = measure(0, port, settings["entries"])
        assert second.wait() == 0
        write_result({"call_s": seconds, "bytes": 4 * settings["entries"]})
    else:
        measure(1, port, settings["entries"])


def measure(rank: int, port: str, entries: int) -> float:
    """Median seconds of a sum of so many float32 entries."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    mesh = jax.make_mesh((2,), ("data",))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    mine = np.full((1, entries), rank + 1.0, np.float32)
    values = jax.make_array_from_process_local_data(rows, mine)
    add = jax.jit(lambda x: jnp.sum(x, 0), out_shardings=jax.NamedSharding(mesh, jax.P()))
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        total = jax.block_until_ready(add(values))
        times.append(time.perf_counter() - began)
    assert float(total.addressable_data(0)[0]) == 3.0
    jax.distributed.shutdown()
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
