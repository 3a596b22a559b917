"""Products of two arrays, in float32 or with bfloat16 operands: the one place that decides it.

`float32` is float32 throughout, also on devices that would shorten it (TF32, TPU).
`bfloat16` shortens the operands of a product and accumulates in float32, in the derivative too.
Between products all is computed in float32, though not always as exact: a bias takes the sum of the
gradient that its product was given, shortened; weights may be kept so, by `round_weights`; and on
accelerators what leaves the products within layers, and their attention, is shortened too, since a
step there waits for memory longer than for arithmetic. Residual sums and norms stay as they are.
"""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.configs import PRECISIONS, Precision
from bertjax.models.partial_sums import partial_sums


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """`auto` becomes bfloat16 where the default device multiplies it natively, else float32.

    Raises:
        ValueError: the precision is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    return "bfloat16" if _multiplies_bfloat16(jax.devices()[0]) else "float32"


def _multiplies_bfloat16(device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    if device.platform == "tpu":
        return True
    if device.platform == "gpu":
        return is_ampere(device)
    try:
        with cpuinfo.open(encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def is_ampere(device) -> bool:
    """Whether a GPU is NVIDIA's, of sm80 or later: the first that multiply bfloat16.

    The compute capability of AMD's is a name, as in gfx942. Some of them multiply bfloat16 too, but
    none was ever tried here: bfloat16 is what they do if it is asked for, and not by themselves.
    """
    try:
        return float(getattr(device, "compute_capability", 0)) >= 8.0
    except ValueError:
        return False


def has_kernels(backend: str, precision: str) -> bool:
    """Whether kernels of ours for a backend, `gpu` or `tpu`, run on the default device.

    They take bfloat16, which no GPU before Ampere multiplies, nor were they tried on another
    maker's.
    """
    if jax.default_backend() != backend or precision != "bfloat16":
        return False
    return backend != "gpu" or is_ampere(jax.devices()[0])


def rounds_results(precision: str) -> bool:
    """Whether what leaves a product within a layer is rounded to bfloat16."""
    return has_kernels("gpu", precision) or has_kernels("tpu", precision)


def exact(x: jax.Array) -> jax.Array:
    """x as it is computed with between products: no longer rounded to bfloat16."""
    return x.astype(exact_type(x))


def exact_type(x: jax.Array) -> jnp.dtype:
    return jnp.dtype(jnp.float32) if x.dtype == jnp.bfloat16 else x.dtype


def round_weights(params: Any, precision: Precision) -> Any:
    """Parameters whose weights are as products take them, so that no call rounds them again.

    The outputs are the same. In bfloat16 the weights of dense layers take half the memory; in
    float32 all are as they were. Not for training, which adds to weights less than their rounding.

    Args:
        params: of a model from `make_model`, in float32.
        precision: of that model.
    """
    if resolve_precision(precision) == "float32":
        return params

    def rounded(_module: str, name: str, x: jax.Array) -> jax.Array:
        return x.astype(jnp.bfloat16) if name == "w" else x

    return hk.data_structures.map(rounded, params)


def dense_product(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array,
    precision: str,
    rounded: bool = False,
) -> jax.Array:
    """x w + b [n, f] from x [n, d], w [d, f] and b [f], float32; x and w may be rounded.

    Args:
        rounded: whether the result is bfloat16, if the precision is; else it is float32.
    """
    if precision == "bfloat16":
        how = False, jnp.bfloat16 if rounded else jnp.float32, x.dtype
        return _add_bias(_dense_short(how, x, w), b)
    return jnp.dot(x, w, precision=jax.lax.Precision.HIGHEST) + b


def tied_product(x: jax.Array, table: jax.Array, precision: str) -> jax.Array:
    """x table^T [n, v] float32 from x [n, d] and the rows [v, d] of a table, both float32."""
    if precision == "bfloat16":
        return _dense_short((True, jnp.float32, x.dtype), x, table)
    return jnp.dot(x, table.T, precision=jax.lax.Precision.HIGHEST)


def head_product(spec: str, a: jax.Array, b: jax.Array, precision: str) -> jax.Array:
    """`jnp.einsum(spec, a, b)` to float32, for the products within attention heads.

    Every index of `spec` stands in two of its three terms, or in all three (batch indices), so
    that each gradient is again such a product.
    """
    if precision == "bfloat16":
        return _head_short(spec, a, b)
    return jnp.einsum(spec, a, b, precision=jax.lax.Precision.HIGHEST)


# The derivative of a short product that JAX derives converts its operands back to float32, which
# is the slow path; so these are written here.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dense_short(how: tuple[bool, Any, Any], x: jax.Array, w: jax.Array) -> jax.Array:
    """x w, or x w^T if tied; `how`: (tied, type of the result, type of x)."""
    return _dense_forward(how, x, w)[0]


def _dense_forward(how, x, w):
    tied, result, _ = how
    x, w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
    return (_dot_transposed if tied else _dot)(x, w, result), (x, w)


def _dense_backward(how, saved, g):
    tied, _, given = how
    x, w = saved
    g = g.astype(jnp.bfloat16)
    if tied:
        return _dot(g, w, given), _weight_gradient(g, x)
    return _dot_transposed(g, w, given), _weight_gradient(x, g)


_dense_short.defvjp(_dense_forward, _dense_backward)


@jax.custom_vjp
def _add_bias(y: jax.Array, b: jax.Array) -> jax.Array:
    return y + b.astype(y.dtype)


def _add_bias_backward(_, g):
    """The bias takes the gradient in bfloat16, as the product does.

    The barrier has it written so, once: otherwise it is written in float32 too, in a second pass,
    or computed again in the loop of the sum.
    """
    short = jax.lax.optimization_barrier(g.astype(jnp.bfloat16))
    return short.astype(g.dtype), _sum_of_rows(short)


_add_bias.defvjp(lambda y, b: (_add_bias(y, b), None), _add_bias_backward)


@jax.jit  # traced once a shape
def _sum_of_rows(g: jax.Array) -> jax.Array:
    """The sum of all rows [f] float32 of g [n, f]."""
    return jax.lax.platform_dependent(
        g.astype(jnp.float32),
        cpu=lambda g: partial_sums(g, axes=(0,)).sum(axis=0),
        default=lambda g: g.sum(axis=0),
    )


def _dot(a: jax.Array, b: jax.Array, result: Any = jnp.float32) -> jax.Array:
    """a b. XLA's CPU backend takes one row for a vector: it would make b float32 in each call."""
    if a.shape[0] == 1:
        return _dot(jnp.pad(a, ((0, 1), (0, 0))), b, result)[:1]
    return jnp.dot(a, b, preferred_element_type=result)


def _dot_transposed(a: jax.Array, b: jax.Array, result: Any = jnp.float32) -> jax.Array:
    """a b^T, in one operation: from `a @ b.T` XLA's CPU backend makes a product in float32."""
    dimensions = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=result)


@jax.jit  # traced once a shape
def _weight_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    """x^T g [d, f] float32 from x [n, d] and g [n, f], both bfloat16."""
    return jax.lax.platform_dependent(x, g, cpu=_turned_dot, default=_left_transposed_dot)


def _left_transposed_dot(x: jax.Array, g: jax.Array) -> jax.Array:
    dimensions = (((0,), (0,)), ((), ()))
    return jax.lax.dot_general(x, g, dimensions, preferred_element_type=jnp.float32)


def _turned_dot(x: jax.Array, g: jax.Array) -> jax.Array:
    """The same in two operations.

    XLA's CPU backend leaves its fast product, or refuses the types, when the left operand is
    transposed, and folds a plain transpose into the product. One through three dimensions it
    carries out; rows of zeros make these three.
    """
    blocks, block = 8, -(-max(len(x), 16) // 8)
    padding = ((0, blocks * block - len(x)), (0, 0))
    x, g = jnp.pad(x, padding), jnp.pad(g, padding)
    turned = x.reshape(blocks, block, -1).transpose(2, 0, 1).reshape(x.shape[1], -1)
    return _dot(turned, g)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _head_short(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return _contract(spec, a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))


def _head_forward(spec, a, b):
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    return _contract(spec, a, b), (a, b)


def _head_backward(spec, saved, g):
    a, b = saved
    g = g.astype(jnp.bfloat16)
    terms, out = spec.split("->")
    left, right = terms.split(",")
    return _contract(f"{out},{right}->{left}", g, b), _contract(f"{left},{out}->{right}", a, g)


_head_short.defvjp(_head_forward, _head_backward)


def _contract(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """An einsum with the operand on the left that XLA's CPU backend wants there.

    That is one whose contracted index comes last; failing that, one whose batch indices do not
    come first, since it is copied into the right order anyway. `jnp.einsum` does not let us choose.
    """
    terms, out = spec.split("->")
    left, right = terms.split(",")
    summed = next(i for i in left if i not in out)
    batch = [i for i in left if i in right and i in out]

    def fits(term: str) -> bool:
        return term[-1] == summed or [*term[: len(batch)]] != batch

    if not fits(left) and fits(right):
        left, right, a, b = right, left, b, a
    dimensions = (
        ((left.index(summed),), (right.index(summed),)),
        (tuple(left.index(i) for i in batch), tuple(right.index(i) for i in batch)),
    )
    result = jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
    free = [i for i in left + right if i not in batch and i != summed]
    order = [*batch, *free]
    return result.transpose([order.index(i) for i in out])
