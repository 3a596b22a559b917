"""Layer norm, and the kernel of residual sums beside the path that is always right."""

from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models import precision, residual_norm
from bertjax.models.configs import BertConfig
from bertjax.models.norm_kernels import fits
from bertjax.models.residual_norm import LayerNorm, fused_norm

CONFIG = BertConfig(layer_norm_eps=1e-3)


def test_layer_norm_divides_by_the_population_deviation_and_uses_eps(tiny):
    params = {"layer_norm": {"scale": jnp.array([1.0, 2.0]), "offset": jnp.array([0.0, 10.0])}}
    x = jnp.array([[1.0, 3.0]])  # mean 2, variance 1
    plain = hk.transform(lambda x: LayerNorm(tiny)(x)).apply(params, None, x)
    np.testing.assert_allclose(plain, [[-1.0, 12.0]], rtol=1e-6)
    wide = replace(tiny, layer_norm_eps=3.0)  # divided by sqrt(1 + 3)
    halved = hk.transform(lambda x: LayerNorm(wide)(x)).apply(params, None, x)
    np.testing.assert_allclose(halved, [[-0.5, 11.0]], rtol=1e-6)


def test_layer_norm_is_haiku_s():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 48)), jnp.float32)
    rng = np.random.default_rng(1)
    params = {"layer_norm": {k: rng.normal(size=48) for k in ("scale", "offset")}}
    params = jax.tree.map(jnp.float32, params)
    theirs = hk.transform(lambda x: hk.LayerNorm(-1, True, True, eps=1e-3, name="layer_norm")(x))
    ours = hk.transform(lambda x: LayerNorm(CONFIG)(x))
    expected, found = theirs.apply(params, None, x), ours.apply(params, None, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def arrays(rows: int, tokens: int, width: int, update_type) -> list[jax.Array]:
    """A residual, an update, scale and offset, and slopes of both results."""
    rng = np.random.default_rng(tokens + width)
    residual, update, long, short = rng.normal(size=(4, rows, tokens, width)) + 0.5
    scale, offset = rng.normal(size=(2, width))
    exact = [jnp.asarray(x, jnp.float32) for x in (residual, scale, offset, long)]
    short_ones = [jnp.asarray(x, update_type) for x in (update, short)]
    return [exact[0], short_ones[0], exact[1], exact[2], exact[3], short_ones[1]]


def value_and_gradients(fused: bool, rate: float, seed: int | None, *operands) -> list[np.ndarray]:
    """Both results, and the gradients of residual, update, scale and offset."""

    def model(residual, update, scale, offset):
        key = hk.maybe_next_rng_key() if fused else None
        if fused:
            return fused_norm(
                residual, update, scale, offset, rate, key, CONFIG.layer_norm_eps, "cpu"
            )
        norm = LayerNorm(CONFIG)
        norm.parameters = lambda x: (scale, offset)
        exact = norm.of_sum(residual, update, rate, "float32").exact
        return exact, exact.astype(update.dtype)

    apply = hk.transform(model).apply
    key = None if seed is None else jax.random.key(seed)

    @jax.jit
    def both(operands, long, short):
        (one, other), back = jax.vjp(lambda *x: tuple(apply({}, key, *x)), *operands)
        return one, other, *back((long, short))

    *operands, long, short = operands
    return [np.asarray(x, np.float64) for x in both(operands, long, short)]


@pytest.mark.parametrize(("rate", "seed"), [(0.1, None), (0.1, 3)])
@pytest.mark.parametrize(("tokens", "width"), [(40, 768), (7, 384), (1, 64), (36, 192)])
def test_values_and_gradients_are_those_of_the_plain_path(tokens, width, rate, seed):
    operands = arrays(2, tokens, width, jnp.float32)
    found = value_and_gradients(True, rate, seed, *operands)
    expected = value_and_gradients(False, rate, seed, *operands)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_what_is_rounded_already_is_added_exactly():
    operands = arrays(2, 24, 256, jnp.bfloat16)
    found = value_and_gradients(True, 0.1, 3, *operands)
    expected = value_and_gradients(False, 0.1, 3, *operands)
    rounded = {1, 3}  # the second result, and the gradient of the update
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        atol = (2**-8 if number in rounded else 1e-5) * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@jax.jit
def dropped(*operands):
    *operands, long, short = operands

    def function(*x):
        return tuple(fused_norm(*x, 0.1, jax.random.key(1), 1e-3, "cpu"))

    values, back = jax.vjp(function, *operands)
    return *values, *back((long, short))


def test_it_gives_the_same_however_rows_are_split_over_devices():
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "fsdp"))
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    everywhere = NamedSharding(mesh, PartitionSpec())
    operands = arrays(16, 8, 64, jnp.float32)
    places = [rows, rows, everywhere, everywhere, rows, rows]
    split = [jax.device_put(x, place) for x, place in zip(operands, places, strict=True)]
    for one, other in zip(dropped(*operands), dropped(*split), strict=True):
        if one.ndim == 3:
            assert other.sharding.is_equivalent_to(rows, other.ndim)
            np.testing.assert_array_equal(one, other)
        else:  # sums over all rows
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * float(jnp.abs(one).max()))


def test_rows_that_devices_cannot_share_alike_are_computed_too():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    operands = arrays(3, 8, 64, jnp.float32)
    for one, other in zip(
        dropped(*operands), dropped(*jax.device_put(operands, everywhere)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * float(jnp.abs(one).max()))


@pytest.mark.parametrize("transform", [jax.vmap, jax.pmap])
def test_mapped_functions_give_what_separate_calls_do(transform):
    residual, update, scale, offset, long, short = arrays(16, 8, 64, jnp.float32)
    parts = [x.reshape(8, 2, *x.shape[1:]) for x in (residual, update, long, short)]

    def mapped(residual, update, long, short):
        return dropped(residual, update, scale, offset, long, short)

    expected = [mapped(*part) for part in zip(*parts, strict=True)]
    for i, found in enumerate(transform(mapped)(*parts)):
        np.testing.assert_allclose(found, [part[i] for part in expected], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "kind", "width", "expected"),
    [
        ("gpu", "bfloat16", 768, True),
        ("gpu", "bfloat16", 312, False),  # 8 x 39
        ("gpu", "float32", 768, False),
        ("tpu", "bfloat16", 768, False),
        ("cpu", "bfloat16", 768, False),
    ],
)
def test_which_devices_have_the_kernel(backend, kind, width, expected, monkeypatch):
    monkeypatch.setattr(precision.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(precision, "is_ampere", lambda device: True)
    assert residual_norm.has_norm_kernel(width, kind) == expected


@pytest.mark.parametrize("width", [128, 256, 312, 384, 512, 768, 1024])
def test_a_row_is_cut_into_few_powers_of_two(width):
    assert fits(width) == (width != 312)


def test_the_kernels_are_made_for_a_gpu_without_one():
    x = jax.ShapeDtypeStruct((4, 64, 768), jnp.float32)
    update = jax.ShapeDtypeStruct((4, 64, 768), jnp.bfloat16)
    weights = jax.ShapeDtypeStruct((768,), jnp.float32)

    def total(*operands):
        long, short = fused_norm(*operands, 0.1, jax.random.key(1), 1e-3, "gpu")
        return long.sum() + short.astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3))).trace(x, update, weights, weights)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__gpu$xla.gpu.triton(") == 2  # forward and backward
