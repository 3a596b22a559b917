"""Our kernel against the attention that is always right, in Pallas's interpreters on the CPU."""

from contextlib import AbstractContextManager, nullcontext

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.models.attention import attend
from bertjax.models.dropout import dropout
from bertjax.models.flash_attention import flash_attend
from bertjax.models.flash_kernels import Settings
from bertjax.models.segments import visible


def arrays(rows: int, tokens: int, heads: int, width: int, count: int = 4) -> list[jax.Array]:
    """Queries, keys, values and the slope of what comes out of them."""
    rng = np.random.default_rng(tokens * width)
    shape = (count, rows, tokens, heads, width)
    return list(jnp.asarray(rng.normal(size=shape), jnp.float32))


def packed(*rows: list[int], tokens: int) -> jax.Array:
    """The segment ids of rows of sequences of these lengths, int [B, T]."""
    ids = [np.repeat(np.arange(len(row)) + 1, row) for row in rows]
    return jnp.asarray(np.stack([np.pad(row, (0, tokens - len(row))) for row in ids]), jnp.int32)


def plain(query, key, value, segment_ids, rate=0.0, seed=None, precision="float32"):
    mask = visible(segment_ids)
    model = hk.transform(lambda *heads: attend(*heads, mask, rate, precision)[0])
    return model.apply({}, None if seed is None else jax.random.key(seed), query, key, value)


def flash(query, key, value, segment_ids, rate=0.0, seed=None, precision="float32", backend="cpu"):
    def model(*heads):
        rng = hk.maybe_next_rng_key()
        together = jnp.stack(heads, axis=2).astype(precision)
        return flash_attend(together, segment_ids, rate, rng, backend).astype(jnp.float32)

    rng = None if seed is None else jax.random.key(seed)
    return hk.transform(model).apply({}, rng, query, key, value)


def interpreted(backend: str) -> AbstractContextManager:
    """Where a kernel's form for a backend runs here: `cpu` by itself."""
    return pltpu.force_tpu_interpret_mode() if backend == "tpu" else nullcontext()


def value_and_gradients(function, heads, slope, segment_ids, *options) -> list[np.ndarray]:
    """Where tokens are real: what padding sees is up to each path."""
    real = jnp.asarray(segment_ids > 0)[:, :, None, None]

    @jax.jit
    def both(heads, slope):
        def attended(*heads):
            return jnp.where(real, function(*heads, segment_ids, *options), 0.0)

        value, back = jax.vjp(attended, *heads)
        return value, *back(slope)

    return [np.asarray(x) for x in both(heads, slope)]


@pytest.mark.parametrize(
    ("tokens", "width", "rows", "rate"),
    [
        (17, 32, ([9, 5], [17]), 0.0),
        (17, 32, ([9, 5], [17]), 0.1),
        (96, 64, ([50, 46], [3, 20, 40]), 0.1),
        (128, 32, ([128], [60, 60]), 0.1),
        (320, 64, ([100, 27, 180], [131]), 0.0),
        (330, 64, ([100, 27, 180], [131]), 0.1),  # not a multiple of a tile's side
    ],
)
def test_values_and_gradients_are_those_of_the_plain_path(tokens, width, rows, rate):
    *operands, slope = arrays(2, tokens, 2, width)
    options = packed(*rows, tokens=tokens), rate, 1
    found = value_and_gradients(flash, operands, slope, *options)
    expected = value_and_gradients(plain, operands, slope, *options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "heads", "width", "rows", "rate"),
    [
        (17, 6, 32, ([9, 5], [17]), 0.1),  # heads that do not fill the lanes of a TPU twice
        (40, 2, 128, ([40], [5]), 0.1),  # some that fill them each
        (330, 4, 64, ([100, 27, 180], [131]), 0.1),  # tiles that see nothing of each other
    ],
)
def test_so_they_are_in_the_form_for_tpus(tokens, heads, width, rows, rate):
    *operands, slope = arrays(2, tokens, heads, width)
    options = packed(*rows, tokens=tokens), rate, 1
    with interpreted("tpu"):
        found = value_and_gradients(flash, operands, slope, *options, "float32", "tpu")
    expected = value_and_gradients(plain, operands, slope, *options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_bfloat16_is_as_near_to_float32_as_on_the_plain_path(backend):
    *operands, slope = arrays(1, 150, 2, 64)
    options = packed([100, 30], tokens=150), 0.1, 1
    exact = value_and_gradients(plain, operands, slope, *options)
    with interpreted(backend):
        found = value_and_gradients(flash, operands, slope, *options, "bfloat16", backend)
    expected = value_and_gradients(plain, operands, slope, *options, "bfloat16")

    def error(x, true):
        return np.sqrt(np.mean((x - true) ** 2))

    for one, other, true in zip(found, expected, exact, strict=True):
        assert one.dtype == np.float32
        # What leaves a kernel is rounded to bfloat16 too: to 2^-9 at most, half that on average.
        assert error(one, true) < error(other, true) + 2**-10 * np.sqrt(np.mean(true**2))


@pytest.mark.parametrize("first", [0, 112])  # in the first tiles, and in the last two
def test_dropout_drops_the_probabilities_that_it_drops_on_the_plain_path(first):
    """Values that are rows of a unit matrix show a part of the probabilities."""
    tokens, heads, width = 140, 2, 32
    query, key, _ = arrays(2, tokens, heads, width, 3)
    value = jnp.zeros((2, tokens, heads, width))
    value = value.at[:, first : first + 28, :, :28].set(jnp.eye(28)[None, :, None])
    segment_ids = jnp.ones((2, tokens), jnp.int32)
    shown = flash(query, key, value, segment_ids, 0.1, 5)[..., :28]  # [B, Q, N, 28]

    drop = hk.transform(lambda x: dropout(x, 0.1))
    ones = drop.apply({}, jax.random.key(5), jnp.ones((2, heads, tokens, tokens)))
    expected = ones[..., first : first + 28].transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(shown > 0, expected > 0)
    assert 0.05 < np.mean(shown == 0) < 0.15


def test_a_row_of_padding_alone_gives_zeros_and_finite_gradients():
    *operands, slope = arrays(2, 20, 1, 32)
    options = packed([], [12], tokens=20), 0.1, 1
    value, *gradients = value_and_gradients(flash, operands, slope, *options)
    np.testing.assert_array_equal(value[0], 0.0)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[0], 0.0)
        assert np.isfinite(gradient).all()
        assert gradient[1].any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=19, max_size=19).filter(any))
def test_any_segments_are_seen_as_the_plain_path_sees_them(ids):
    operands = arrays(1, 19, 1, 16, 3)
    segment_ids = jnp.asarray([ids], jnp.int32)
    real = segment_ids[0] > 0
    found, expected = _flash_of_19(*operands, segment_ids), plain(*operands, segment_ids)
    np.testing.assert_allclose(found[0, real], expected[0, real], rtol=0, atol=1e-5)
    behind = ~real & (np.cumsum(real) > 0)
    np.testing.assert_array_equal(found[0, behind], 0.0)


_flash_of_19 = jax.jit(flash)


def test_padding_in_front_sees_what_follows_as_on_the_plain_path():
    """A head that reads each row's first token then reads the same."""
    operands = arrays(1, 40, 1, 32, 3)
    segment_ids = jnp.asarray([[0] * 5 + [1] * 30 + [0] * 5])
    found, expected = flash(*operands, segment_ids), plain(*operands, segment_ids)
    np.testing.assert_allclose(found[0, :35], expected[0, :35], rtol=0, atol=1e-5)


def test_nothing_leaks_between_packed_sequences():
    *operands, slope = arrays(1, 150, 1, 32)
    options = packed([70, 60], tokens=150), 0.1, 1
    before = value_and_gradients(flash, operands, slope, *options)
    changed = [x.at[0, 70:130].add(3.0) for x in operands]  # the second
    after = value_and_gradients(flash, changed, slope, *options)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[0, :70], other[0, :70])
        assert not np.array_equal(one[0, 70:130], other[0, 70:130])


def test_more_padding_changes_nothing():
    operands = arrays(1, 17, 1, 32, 3)
    longer = [jnp.pad(x, ((0, 0), (0, 150), (0, 0), (0, 0)), constant_values=7.0) for x in operands]
    short = flash(*operands, packed([9, 8], tokens=17))
    long = flash(*longer, packed([9, 8], tokens=167))
    np.testing.assert_allclose(short, long[:, :17], rtol=0, atol=1e-6)


@jax.jit
def dropped(segment_ids, slope, *operands):
    """What comes out, and the gradients, of a function of arrays that may be split by rows."""
    value, back = jax.vjp(lambda *heads: flash(*heads, segment_ids, 0.1, 1), *operands)
    return value, *back(slope)


def sixteen_rows() -> tuple[jax.Array, ...]:
    *operands, slope = arrays(16, 17, 2, 16)
    return packed(*[[9, i % 8] for i in range(16)], tokens=17), slope, *operands


def test_it_gives_the_same_bits_however_rows_are_split_over_devices():
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "fsdp"))
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    inputs = sixteen_rows()
    split = jax.device_put(inputs, rows)
    for one, other in zip(dropped(*inputs), dropped(*split), strict=True):
        assert other.sharding.is_equivalent_to(rows, other.ndim)
        np.testing.assert_array_equal(one, other)
    text = dropped.lower(*split).compile().as_text()
    for travels in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert travels not in text


def test_rows_that_devices_cannot_share_alike_are_computed_too():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    inputs = tuple(x[:3] for x in sixteen_rows())
    found = dropped(*jax.device_put(inputs, NamedSharding(mesh, PartitionSpec())))
    for one, other in zip(dropped(*inputs), found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("transform", [jax.vmap, jax.pmap])
def test_mapped_functions_give_what_separate_calls_do(transform):
    parts = [x.reshape(8, 2, *x.shape[1:]) for x in sixteen_rows()]
    expected = [dropped(*part) for part in zip(*parts, strict=True)]
    for i, found in enumerate(transform(dropped)(*parts)):
        np.testing.assert_allclose(found, [part[i] for part in expected], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(("tokens", "width"), [(17, 64), (320, 32), (512, 64)])
@pytest.mark.parametrize(
    ("platform", "backend", "call"),
    [("cuda", "gpu", "__gpu$xla.gpu.triton"), ("tpu", "tpu", "tpu_custom_call")],
)
def test_kernels_are_made_for_each_platform_and_no_scores_stand_around_them(
    platform, backend, call, tokens, width, rate
):
    # No N x K is as T: an array of heads would look like scores.
    shape = jax.ShapeDtypeStruct((2, tokens, 6, width), jnp.float32)
    ids = jax.ShapeDtypeStruct((2, tokens), jnp.int32)

    def total(*operands):
        return flash(*operands, rate, 1, "bfloat16", backend).sum()

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(shape, shape, shape, ids)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count(f"@{call}(") == 2  # forward and backward
    multiple = Settings(tokens, rate, backend, width).multiple
    for length in (tokens, -(-tokens // multiple) * multiple):
        assert f"x{length}x{length}x" not in text
