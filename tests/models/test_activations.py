"""Values computed by hand (to six digits) from each function's definition, without jax."""

import math

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.activations import ACTIVATIONS, gelu, rounded_gelu

POINTS = (-30.0, -2.5, -1.0, -1e-3, 0.0, 0.5, 2.0, 7.0, 30.0)


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def gelu_tanh(x: float) -> float:
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def xielu(x: float) -> float:
    if x > 0:
        return 0.8 * x * x + 0.5 * x
    return (math.expm1(min(x, -1e-6)) - x) * 0.8 + 0.5 * x


DEFINITIONS = {
    "gelu": lambda x: x * normal_cdf(x),
    "gelu_10": lambda x: min(max(x * normal_cdf(x), -10.0), 10.0),
    "gelu_accurate": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": lambda x: x * normal_cdf(x),
    "gelu_python_tanh": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "hardswish": lambda x: x * min(max(x + 3.0, 0.0), 6.0) / 6.0,
    "laplace": lambda x: 0.5 * (1.0 + math.erf((x - 0.707107) / (0.282095 * math.sqrt(2.0)))),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "linear": lambda x: x,
    "mish": lambda x: x * math.tanh(softplus(x)),
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "sqrtsoftplus": lambda x: math.sqrt(softplus(x)),
    "swish": lambda x: x * sigmoid(x),
    "tanh": math.tanh,
    "xielu": xielu,
}


def transformed(name: str) -> hk.Transformed:
    return hk.transform(lambda x: ACTIVATIONS[name](x))


def test_every_activation_has_a_definition_here():
    assert set(ACTIVATIONS) == set(DEFINITIONS)


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_value_is_the_definitions(name):
    x = jnp.array(POINTS, jnp.float32)
    function = transformed(name)
    y = function.apply(function.init(None, x), None, x)
    expected = [DEFINITIONS[name](point) for point in POINTS]
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)
    assert y.dtype == jnp.float32


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_gradient_is_finite_and_that_of_the_definition(name):
    points = [p for p in POINTS if p not in (0.0, -1e-3)]  # some have a corner at 0
    x = jnp.array(points, jnp.float32)
    function = transformed(name)
    params = function.init(None, x)
    slope = jax.grad(lambda x: function.apply(params, None, x).sum())(x)
    definition, step = DEFINITIONS[name], 1e-6
    expected = [(definition(p + step) - definition(p - step)) / (2 * step) for p in points]
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("gelu", (-0.158655, 0.841345)),
        ("gelu_new", (-0.158808, 0.841192)),
        ("quick_gelu", (-0.154204, 0.845796)),
        ("silu", (-0.268941, 0.731059)),
        ("mish", (-0.303401, 0.865098)),
        ("hardswish", (-1 / 3, 2 / 3)),
        ("laplace", (0.0, 0.850430)),
    ],
)
def test_published_values_at_minus_one_and_one(name, values):
    y = ACTIVATIONS[name](jnp.array([-1.0, 1.0]))
    np.testing.assert_allclose(y, values, atol=1e-6)


def test_prelu_uses_its_parameter():
    function = transformed("prelu")
    y = function.apply({"~": {"weight": jnp.array([-2.0])}}, None, jnp.array([-3.0, 3.0]))
    np.testing.assert_array_equal(y, [6.0, 3.0])


def test_xielu_uses_its_parameters_and_learns_only_the_slopes():
    function = transformed("xielu")
    x = jnp.array([-2.0, 1.5])
    params = {
        "~": {
            "alpha_p": jnp.array([0.3]),
            "alpha_n": jnp.array([-0.4]),
            "beta": jnp.array(0.7),
            "eps": jnp.array(-1e-6),
        }
    }
    slope_p, slope_n = softplus(0.3), 0.7 + softplus(-0.4)
    expected = [(math.expm1(-2.0) + 2.0) * slope_n - 1.4, slope_p * 2.25 + 1.05]
    np.testing.assert_allclose(function.apply(params, None, x), expected, rtol=2e-6, atol=1e-6)
    slopes = jax.grad(lambda p: function.apply(p, None, x).sum())(params)["~"]
    assert slopes["beta"] == 0.0
    assert slopes["eps"] == 0.0
    np.testing.assert_allclose(slopes["alpha_p"], [2.25 * sigmoid(0.3)], rtol=1e-6)
    slope = (math.expm1(-2.0) + 2.0) * sigmoid(-0.4)
    np.testing.assert_allclose(slopes["alpha_n"], [slope], rtol=1e-6)


def test_rounded_gelu_is_gelu_rounded_and_so_is_its_slope():
    every = np.arange(2**16, dtype=np.uint16).view(jnp.bfloat16)
    x = jnp.asarray(every[np.isfinite(every.astype(np.float32))])
    exact = x.astype(jnp.float32)
    found, back = jax.vjp(rounded_gelu, x)
    expected, exact_back = jax.vjp(gelu, exact)
    (slope,), (exact_slope,) = back(jnp.ones_like(found)), exact_back(jnp.ones_like(exact))
    assert found.dtype == slope.dtype == jnp.bfloat16
    # Half a step of bfloat16, which has 8 bits, and what the approximation is off.
    for one, other, off in ((found, expected, 1e-6), (slope, exact_slope, 1e-6)):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert (np.abs(one - other) <= 2.0**-8 * np.abs(other) + off).all()


def test_gelu_keeps_its_argument_alone_for_its_derivative():
    x, w = jnp.ones((256, 64)), jnp.ones((64, 64))

    def layers(x, w):
        for _ in range(8):
            x = gelu(x @ w)
        return x.sum()

    compiled = jax.jit(jax.grad(layers, (0, 1))).lower(x, w).compile()
    kept = compiled.memory_analysis().temp_size_in_bytes / x.nbytes
    assert 12 < kept < 18  # of each layer x and the argument; erf besides would make it 22
