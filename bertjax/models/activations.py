"""Every activation that the `hidden_act` of a BERT config can name.

An activation is a function of x [...] to [...], in x's dtype. Two of them, `prelu` and `xielu`,
own parameters; inside a Haiku transform they fetch them by the name of the module around.
Each equals the function of the same name in transformers' `activations.py` (ACT2FN).
"""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

_SQRT_2 = float(np.sqrt(2.0))
_DENSITY_AT_0 = float(1.0 / np.sqrt(2.0 * np.pi))
_SQRT_2_OVER_PI = float(np.sqrt(2.0 / np.pi))


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal distribution's cumulative function (Hendrycks & Gimpel 2016, eq. 1).

    Written out, since XLA fuses it better than `jax.nn.gelu(approximate=False)`, which it equals.
    """
    # In two dimensions, since XLA's CPU backend makes slower loops of three.
    rows = x.reshape(-1, *x.shape[-1:])  # of a scalar, too
    return _gelu(rows).reshape(x.shape)


@jax.checkpoint  # erf, kept for the derivative, would be a second array of a layer's largest size
def _gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * (1.0 + jax.lax.erf(x / _SQRT_2))


@jax.custom_vjp
def rounded_gelu(x: jax.Array) -> jax.Array:
    """`gelu` of bfloat16 to bfloat16: computed in float32, and off by less than that rounds away.

    A GPU would spend longer on erf and its derivative than on reading and writing.
    """
    return _rounded_gelu_forward(x)[0]


def _rounded_gelu_forward(x):
    exact = x.astype(jnp.float32)
    return (exact * _normal(exact)[0]).astype(x.dtype), x


def _rounded_gelu_backward(x, g):
    exact = x.astype(jnp.float32)
    cumulative, density = _normal(exact)
    return (((cumulative + exact * density) * g.astype(jnp.float32)).astype(x.dtype),)


rounded_gelu.defvjp(_rounded_gelu_forward, _rounded_gelu_backward)


def _normal(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The normal distribution's cumulative function, within 1e-7, and its density.

    Abramowitz & Stegun 1964, 7.1.26: one exponential serves both, and a root is no division.
    """
    t = jax.lax.rsqrt(jnp.square(1.0 + (0.3275911 / _SQRT_2) * jnp.abs(x)))
    series = jnp.zeros_like(x)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + coefficient) * t
    bell = jnp.exp(-0.5 * x * x)
    tail = 0.5 * series * bell  # beyond |x|
    return jnp.where(x < 0, tail, 1.0 - tail), bell * _DENSITY_AT_0


def gelu_tanh(x: jax.Array) -> jax.Array:
    """The tanh approximation of gelu (Hendrycks & Gimpel 2016, §2)."""
    return 0.5 * x * (1.0 + jnp.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))


def laplace(x: jax.Array) -> jax.Array:
    """The Laplace function of MEGA (Ma et al. 2022, §3.2), with its constants."""
    return 0.5 * (1.0 + jax.lax.erf((x - 0.707107) / (0.282095 * _SQRT_2)))


def prelu(x: jax.Array) -> jax.Array:
    """x where positive, else a learned multiple of it (He et al. 2015, eq. 1)."""
    weight = hk.get_parameter("weight", [1], x.dtype, init=hk.initializers.Constant(0.25))
    return jnp.where(x >= 0, x, weight * x)


def xielu(x: jax.Array) -> jax.Array:
    """Integral of an ELU with learned slopes on both sides (Huang & Schlag 2024, arXiv 2411.13010).

    `beta` and `eps` stand in the checkpoint but are constants: no gradient reaches them.
    """

    def parameter(name: str, value: float) -> jax.Array:
        return hk.get_parameter(name, [1], x.dtype, init=hk.initializers.Constant(value))

    alpha_positive = jax.nn.softplus(parameter("alpha_p", float(np.log(np.expm1(0.8)))))
    alpha_negative = jax.nn.softplus(parameter("alpha_n", float(np.log(np.expm1(0.3)))))
    beta = jax.lax.stop_gradient(hk.get_parameter("beta", [], x.dtype, init=_constant(0.5)))
    eps = jax.lax.stop_gradient(hk.get_parameter("eps", [], x.dtype, init=_constant(-1e-6)))
    positive = alpha_positive * x * x + beta * x
    negative = (jnp.expm1(jnp.minimum(x, eps)) - x) * (beta + alpha_negative) + beta * x
    return jnp.where(x > 0, positive, negative)


_constant = hk.initializers.Constant

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_10": lambda x: jnp.clip(gelu(x), -10.0, 10.0),
    "gelu_accurate": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": gelu,
    "gelu_python_tanh": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "hardswish": lambda x: x * jax.nn.relu6(x + 3.0) / 6.0,
    "laplace": laplace,
    "leaky_relu": lambda x: jnp.where(x >= 0, x, 0.01 * x),
    "linear": lambda x: x,
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "prelu": prelu,
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "sqrtsoftplus": lambda x: jnp.sqrt(jax.nn.softplus(x)),
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
    "xielu": xielu,
}
