"""The rate of large matrix products in this process: what a model's rate is a share of."""

import time
from collections.abc import Callable
from typing import Any

PRODUCTS = 8

_ON_CPU = (
    2048,
    1,
)  # the size of a product, and how many are asked for before the first is waited for
_ON_ACCELERATOR = 8192, 4


def matmul_flops_jax(precision: str) -> float:
    """Multiplications and additions a second; bfloat16: accumulated and written in float32."""
    import jax
    import jax.numpy as jnp

    size, together = _ON_CPU if jax.default_backend() == "cpu" else _ON_ACCELERATOR
    kind = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    a, b = (jax.random.normal(jax.random.key(i), (size, size)).astype(kind) for i in range(2))
    product = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))
    return _rate(lambda: product(a, b), jax.block_until_ready, size, together)


def matmul_flops_torch(precision: str) -> float:
    """The same, as torch multiplies; products of bfloat16 are written as bfloat16."""
    import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured

    on_gpu = torch.cuda.is_available()
    size, together = _ON_ACCELERATOR if on_gpu else _ON_CPU
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    device = "cuda" if on_gpu else "cpu"
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))

    def wait(_) -> None:
        if on_gpu:
            torch.cuda.synchronize()

    return _rate(lambda: a @ b, wait, size, together)


def _rate(
    product: Callable[[], Any], wait: Callable[[Any], Any], size: int, together: int
) -> float:
    """Of the fastest of several: a peak, and not what is usual on a machine with other guests."""
    seconds = []
    for _ in range(1 + PRODUCTS):
        began = time.perf_counter()
        for _ in range(together):
            result = product()
        wait(result)
        seconds.append((time.perf_counter() - began) / together)
    return 2.0 * size**3 / min(seconds[1:])
