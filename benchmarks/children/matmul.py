"""The rate of large matrix products in this process: what a model's rate is a share of."""

import time
from collections.abc import Callable
from typing import Any

SIZE = 2048
PRODUCTS = 8


def matmul_flops_jax(precision: str) -> float:
    """Multiplications and additions a second; bfloat16: accumulated in float32."""
    import jax
    import jax.numpy as jnp

    kind = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    a, b = (jax.random.normal(jax.random.key(i), (SIZE, SIZE)).astype(kind) for i in range(2))
    product = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))
    return _rate(lambda: product(a, b).block_until_ready())


def matmul_flops_torch(precision: str) -> float:
    """The same, as torch multiplies."""
    import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured

    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))
    return _rate(lambda: a @ b)


def _rate(product: Callable[[], Any]) -> float:
    """Of the fastest of several: a peak, and not what is usual on a machine with other guests."""
    seconds = []
    for _ in range(1 + PRODUCTS):
        began = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - began)
    return 2.0 * SIZE**3 / min(seconds[1:])
