import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util

from bertjax.models import precision
from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.models.precision import (
    dense_product,
    head_product,
    resolve_precision,
    round_weights,
    tied_product,
)

# The products within attention heads: scores, and values weighted by probabilities.
SPECS = ["bqnk,bsnk->bnqs", "bnqs,bsnk->bqnk"]
SIZES = {"b": 2, "n": 3, "q": 5, "s": 7, "k": 4}


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shortened(x) -> np.ndarray:
    """To bfloat16 and back, as float64."""
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def relative(found, expected) -> float:
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(np.asarray(expected, np.float64)))


def test_named_precisions_stay_and_others_are_refused():
    assert resolve_precision("float32") == "float32"
    assert resolve_precision("bfloat16") == "bfloat16"
    with pytest.raises(ValueError, match="'float16' is not one of float32, bfloat16, auto"):
        resolve_precision("float16")


@pytest.mark.parametrize(("native", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_device_has_it(monkeypatch, native, chosen):
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda device: native)
    assert resolve_precision("auto") == chosen


class Device:
    def __init__(self, platform: str, compute_capability: str | None = None):
        self.platform = platform
        if compute_capability is not None:
            self.compute_capability = compute_capability


@pytest.mark.parametrize(
    ("device", "native"),
    [
        (Device("tpu"), True),
        (Device("gpu", "7.5"), False),
        (Device("gpu", "8.0"), True),
        (Device("gpu", "10.0"), True),
        (Device("gpu"), False),
        (Device("gpu", "gfx942"), False),  # AMD's
    ],
)
def test_which_accelerators_multiply_bfloat16(device, native):
    assert precision._multiplies_bfloat16(device) == native


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu sse2 avx512f avx512_bf16", True),
        ("fpu sse2 amx_bf16 amx_tile", True),
        ("fpu sse2 avx2 avx512f", False),
    ],
)
def test_which_processors_multiply_bfloat16(flags, native, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    of_one = f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\nbugs\t\t: none\n\n"
    cpuinfo.write_text(of_one * 2)
    assert precision._multiplies_bfloat16(Device("cpu"), cpuinfo) == native


def test_a_processor_that_tells_no_flags_multiplies_no_bfloat16(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    assert not precision._multiplies_bfloat16(Device("cpu"), cpuinfo)  # not Linux
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")  # as on ARM
    assert not precision._multiplies_bfloat16(Device("cpu"), cpuinfo)


def test_float32_product_is_exact_to_float32():
    x, w, b = normal(0, 33, 65), normal(1, 65, 17), normal(2, 17)
    expected = np.asarray(x, np.float64) @ np.asarray(w, np.float64) + np.asarray(b)
    assert relative(dense_product(x, w, b, "float32"), expected) < 1e-6


def values_and_gradients(product, *operands):
    """Of a product with operands that bfloat16 holds exactly: only accumulating could lose.

    The last is the slope of the value.
    """
    exact = [jnp.asarray(shortened(x), jnp.float32) for x in operands]

    @jax.jit
    def compute(*exact):
        *operands, g = exact
        y, backward = jax.vjp(product, *operands)
        return y, *backward(g)

    return compute(*exact), [np.asarray(x, np.float64) for x in exact]


def assert_float32_near(found, expected) -> None:
    for array, value in zip(found, expected, strict=True):
        assert array.dtype == jnp.float32
        assert array.shape == value.shape
        assert relative(array, value) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 3, 45, 48])
@pytest.mark.parametrize("f", [1, 2, 3, 45])
@pytest.mark.parametrize("d", [1, 24])
def test_short_product_shortens_operands_only_in_value_and_gradient(n, d, f):
    found, (x, w, b, g) = values_and_gradients(
        lambda x, w, b: dense_product(x, w, b, "bfloat16"),
        normal(0, n, d),
        normal(1, d, f),
        normal(3, f),
        normal(2, n, f),
    )
    assert_float32_near(found, (x @ w + b, g @ w.T, x.T @ g, g.sum(axis=0)))


@pytest.mark.parametrize(("n", "d", "v"), [(1, 4, 3), (3, 24, 45), (45, 8, 2), (64, 32, 301)])
def test_short_product_with_a_table_in_value_and_gradient(n, d, v):
    found, (x, table, g) = values_and_gradients(
        lambda x, w: tied_product(x, w, "bfloat16"),
        normal(0, n, d),
        normal(1, v, d),
        normal(2, n, v),
    )
    assert_float32_near(found, (x @ table.T, g @ table, g.T @ x))


def test_float32_product_with_a_table_is_exact_to_float32():
    x, table = normal(0, 33, 65), normal(1, 17, 65)
    expected = np.asarray(x, np.float64) @ np.asarray(table, np.float64).T
    assert relative(tied_product(x, table, "float32"), expected) < 1e-6


def test_short_product_is_within_bfloat16_of_the_whole_one():
    x, w = normal(0, 64, 384), normal(1, 384, 96)
    exact = np.asarray(x, np.float64) @ np.asarray(w, np.float64)
    error = relative(dense_product(x, w, jnp.zeros(96), "bfloat16"), exact)
    assert 1e-4 < error < 4e-3  # two roundings of at most 2^-8 / 2 each, and it is not float32


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("sizes", [SIZES, {**SIZES, "q": 1, "s": 1}, {**SIZES, "n": 1, "k": 1}])
def test_short_head_product_is_the_einsum_in_value_and_gradient(spec, sizes):
    left, right, out = re.split(r",|->", spec)
    arrays = (normal(i, *(sizes[k] for k in term)) for i, term in enumerate((left, right, out)))
    found, (a, b, g) = values_and_gradients(
        lambda a, b: head_product(spec, a, b, "bfloat16"), *arrays
    )
    expected = (
        np.einsum(spec, a, b),
        np.einsum(f"{out},{right}->{left}", g, b),
        np.einsum(f"{left},{out}->{right}", a, g),
    )
    assert_float32_near(found, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_float32_head_product_is_exact_to_float32(spec):
    left, right, _ = re.split(r",|->", spec)
    a, b = (normal(i, *(SIZES[k] for k in term)) for i, term in enumerate((left, right)))
    expected = np.einsum(spec, np.asarray(a, np.float64), np.asarray(b, np.float64))
    assert relative(head_product(spec, a, b, "float32"), expected) < 1e-6


def objective(model):
    """Sum of the log probabilities of the first class, or of the first word at each token."""

    def loss(params, input_ids, segment_ids):
        output = model.apply(params, None, input_ids, segment_ids=segment_ids, max_segments=2)
        return jax.nn.log_softmax(output.logits)[..., 0].sum()

    return loss


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 3), (3, 11)])
def test_a_short_model_is_near_the_whole_one_for_odd_shapes(tiny, build, task, rows, length):
    config = replace(tiny, num_hidden_layers=1)
    ids = jnp.asarray(np.random.default_rng(0).integers(1, 29, (rows, length)), jnp.int32)
    segment_ids = jnp.minimum(jnp.arange(length) // max(length // 2, 1) + 1, 2)
    segment_ids = jnp.broadcast_to(segment_ids, ids.shape)
    values, slopes = {}, {}
    for name in ("float32", "bfloat16"):
        model, params = build(task, config, precision=name)
        run = jax.jit(jax.value_and_grad(objective(model)))
        values[name], found = run(params, ids, segment_ids)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
        slopes[name] = np.concatenate([np.ravel(x) for x in jax.tree.leaves(found)])
    assert relative(values["bfloat16"], values["float32"]) < 0.02
    assert relative(slopes["bfloat16"], slopes["float32"]) < 0.05


def computations(text: str) -> dict[str, list[str]]:
    """The lines of each computation of a compiled module, by its name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        header = re.match(r"(?:ENTRY )?%([\w.\-]+) \(.*\{$", line)
        if header:
            lines = found.setdefault(header.group(1), [])
        lines.append(line)
    return found


def products(text: str) -> list[tuple[str, bool]]:
    """Each product of a compiled module: its operands' types, and whether it is in a fusion."""
    fused = set(re.findall(r"kind=kCustom, calls=%([\w.\-]+)", text))
    found = []
    for name, lines in computations(text).items():
        types = dict(re.findall(r"%([\w.\-]+) = (\w+\[[\d,]*\])", "\n".join(lines)))
        for line in lines:
            match = re.search(r" dot\(%([\w.\-]+), %([\w.\-]+)\)", line)
            if match:
                operands = f"{types[match.group(1)]} {types[match.group(2)]}"
                found.append((operands, name in fused))
    return found


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
def test_every_product_of_a_step_takes_the_fast_path(tiny, build, task):
    """XLA's CPU backend runs a product fast if both operands are bfloat16 and it is in a fusion."""
    config = replace(tiny, hidden_size=32, intermediate_size=64)
    model, params = build(task, config, precision="bfloat16")
    ids = jnp.ones((4, 10), jnp.int32)
    step = jax.jit(jax.grad(objective(model))).lower(params, ids, ids).compile()
    found = products(step.as_text())
    # 6 dense products and 2 within heads a layer, 2 in the head; each with two gradients.
    assert len(found) == 3 * (2 * 8 + 2)
    slow = [
        operands
        for operands, fused in found
        if not (fused and operands.count("bf16") == 2)
        # Gradients through three classes, or two tokens of a row, XLA finds too small to shorten.
        and operands not in ("f32[8,3] f32[32,3]", "f32[4,2,16,2] f32[4,2,2,10]")
    ]
    assert slow == []


def test_weights_that_one_row_is_multiplied_by_are_never_whole_in_float32():
    product = jax.jit(partial(dense_product, precision="bfloat16"))
    x, w, b = normal(0, 1, 48), normal(1, 48, 64).astype(jnp.bfloat16), normal(2, 64)
    assert "f32[48,64]" not in product.lower(x, w, b).compile().as_text()
    expected = dense_product(jnp.tile(x, (8, 1)), w, b, "bfloat16")[:1]
    np.testing.assert_allclose(product(x, w, b), expected, rtol=1e-6, atol=1e-6)


def sine_of_product(w, b, x):
    return jnp.sin(dense_product(x, w, b, "bfloat16")).sum()


def test_the_gradient_that_bias_and_product_share_is_written_once_in_bfloat16(written):
    """Of gelu's derivative, say, which XLA else writes in float32 and then reads to shorten it.

    In float32 there is the product alone: XLA's own sum would first write the rows that it adds.
    """
    step = jax.jit(jax.grad(sine_of_product, argnums=(0, 1)))
    inputs = normal(0, 32, 48), normal(1, 48), normal(2, 64, 32)
    types = written(step, *inputs)
    assert (types.count("bf16[64,48]"), types.count("f32[64,48]")) == (1, 1)
    text = step.lower(*inputs).compile().as_text()
    derivatives = [part for part in text.split("\n\n") if " cosine(" in part]
    assert len(derivatives) == 1
    assert re.search(r"ROOT \S+ = bf16\[64,48\]", derivatives[0])


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_an_accelerator_gets_the_weight_gradient_as_one_product(platform):
    """The detour through three dimensions is for CPUs alone, as are partial sums."""
    gradient = jax.jit(jax.grad(sine_of_product, argnums=(0, 1)))
    traced = gradient.trace(normal(0, 8, 16), normal(2, 16), normal(1, 24, 8))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "contracting_dims = [0] x [0]" in text
    assert "stablehlo.transpose" not in text
    assert "stablehlo.pad" not in text
    assert "stablehlo.slice" not in text


@pytest.mark.parametrize(("n", "d", "f"), [(1, 1, 1), (3, 5, 2), (45, 24, 7), (64, 32, 48)])
def test_the_weight_gradients_of_all_devices_are_one(n, d, f):
    """CPUs take one of them, accelerators the other; operands in bfloat16."""
    x, g = normal(0, n, d).astype(jnp.bfloat16), normal(1, n, f).astype(jnp.bfloat16)
    expected = np.asarray(x, np.float64).T @ np.asarray(g, np.float64)
    for variant in (precision._left_transposed_dot, precision._turned_dot):
        assert_float32_near([jax.jit(variant)(x, g)], [expected])


def test_weights_that_are_rounded_before_give_the_same_bits(random_params):
    config = BertConfig(vocab_size=20, hidden_size=32, num_attention_heads=2, num_hidden_layers=2)
    ids = jnp.arange(12).reshape(2, 6)
    for task in ("text-classification", "fill-mask"):
        model = make_model(config, task, "bfloat16")
        params = random_params(model, ids, deviation=0.02)
        rounded = round_weights(params, "bfloat16")
        kinds = {path[-1]: x.dtype.name for path, x in traverse_util.flatten_dict(rounded).items()}
        assert kinds.pop("w") == "bfloat16"
        assert set(kinds.values()) == {"float32"}
        apply = jax.jit(model.apply)
        expected, found = apply(params, None, ids), apply(rounded, None, ids)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), expected, found))


def test_weights_of_float32_stay_as_they_are():
    params = {"layer": {"w": normal(0, 3, 3)}}
    assert round_weights(params, "float32") is params


@pytest.mark.parametrize("tokens", [1, 24])  # one row has a path of its own
def test_a_rounded_result_is_the_float32_one_rounded(tokens):
    x, w, b, slope = normal(0, tokens, 16), normal(1, 16, 8), normal(2, 8), normal(3, tokens, 8)

    def both(rounded, x):
        product = lambda *operands: dense_product(*operands, "bfloat16", rounded)  # noqa: E731
        y, back = jax.vjp(product, x, w, b)
        return y, *back(slope.astype(y.dtype))

    exact, short = both(False, x), both(True, x.astype(jnp.bfloat16))
    assert [y.dtype for y in exact] == [jnp.float32] * 4
    assert [y.dtype for y in short] == [jnp.bfloat16, jnp.bfloat16, jnp.float32, jnp.float32]
    for one, other in zip(short, exact, strict=True):
        assert relative(one, other) < 2**-8


def test_results_are_rounded_on_accelerators_alone(monkeypatch):
    assert not precision.rounds_results("bfloat16")
    monkeypatch.setattr(precision, "is_ampere", lambda device: True)
    for backend in ("gpu", "tpu"):
        monkeypatch.setattr(precision.jax, "default_backend", lambda backend=backend: backend)
        assert precision.rounds_results("bfloat16")
        assert not precision.rounds_results("float32")
