import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.training.losses import Sums, classification_loss
from bertjax.training.steps import init_state, make_gradients, make_train_step


def gradients_of(classifier, batch, accumulation=1):
    loss = classification_loss(classifier.apply)
    return jax.jit(make_gradients(loss, accumulation))(classifier.params, None, batch)


@pytest.fixture(scope="module")
def bert(make_bert):
    return make_bert()


@pytest.fixture(scope="module")
def batch(texts):
    """[8, T], as of the first step."""
    return next(texts.batches(0))


@pytest.fixture(scope="module")
def whole_of(bert, bert_runner, sgd):
    """Loss and gradient of a batch of eight rows at once."""
    runner = bert_runner("jit", 0.0)

    def whole(batch):
        state, metrics = runner.step(runner.place(bert.state(sgd)), runner.place_batch(batch))
        return float(metrics["loss"]), state.opt_state.gradients

    return whole


@pytest.fixture(scope="module")
def whole(whole_of, batch):
    return whole_of(batch)


def test_the_gradient_is_that_of_the_mean(bag, batch):
    """By a difference quotient along a random direction."""
    rng = np.random.default_rng(0)
    direction = jax.tree.map(
        lambda x: jnp.asarray(0.01 * rng.standard_normal(x.shape), x.dtype), bag.params
    )

    @jax.jit
    def mean(scale):
        params = jax.tree.map(lambda x, d: x + scale * d, bag.params, direction)
        sums = classification_loss(bag.apply)(params, None, batch)
        return sums.loss / sums.count

    loss, gradients = gradients_of(bag, batch)
    products = jax.tree.map(lambda g, d: float((g * d).sum()), gradients, direction)
    quotient = (float(mean(1.0)) - float(mean(-1.0))) / 2
    assert sum(jax.tree.leaves(products)) == pytest.approx(quotient, rel=1e-3)
    assert float(loss) == pytest.approx(float(mean(0.0)), rel=1e-6)


def test_two_half_batches_are_one(bert, batch, whole, largest_difference):
    loss, gradients = gradients_of(bert, batch, accumulation=2)
    assert float(loss) == pytest.approx(float(whole[0]), rel=1e-6)
    assert largest_difference(gradients, whole[1]) < 1e-6


def test_parts_of_unequal_weight_are_one(bag, batch, largest_difference):
    """A mean of the means of parts would differ."""
    weights = batch["weights"].copy()
    weights[0::4] = 0
    weights[1] *= 3
    uneven = {**batch, "weights": weights}
    loss, gradients = gradients_of(bag, uneven)
    for accumulation in (2, 4, 8):
        other, parts = gradients_of(bag, uneven, accumulation)
        assert float(other) == pytest.approx(float(loss), rel=1e-6)
        assert largest_difference(parts, gradients) < 1e-6


def test_a_row_a_text_equals_packed_rows(bert, texts, batch, whole, largest_difference):
    rows_of = batch["rows_of"][batch["rows_of"] >= 0]
    ids = [texts.ids[text] for text in rows_of]
    longest = max(map(len, ids))
    padded = {
        "input_ids": np.array([np.pad(text, (0, longest - len(text))) for text in ids]),
        "segment_ids": np.array([np.arange(longest) < len(text) for text in ids], np.int32),
        "labels": texts.labels[rows_of][:, None],
        "weights": np.ones((len(ids), 1), np.float32),
    }
    assert len(ids) > len(batch["input_ids"])
    loss, gradients = gradients_of(bert, padded)
    assert float(loss) == pytest.approx(float(whole[0]), rel=1e-6)
    assert largest_difference(gradients, whole[1]) < 1e-5


def test_a_padded_last_batch_is_exact(bag, batch, largest_difference):
    """Four rows alone, and with four empty ones."""
    part = {name: value[:4] for name, value in batch.items()}
    padded = {name: np.concatenate([value, 0 * value]) for name, value in part.items()}
    (loss, gradients), (padded_loss, padded_gradients) = (
        gradients_of(bag, rows) for rows in (part, padded)
    )
    assert float(padded_loss) == pytest.approx(float(loss), rel=1e-6)
    assert largest_difference(padded_gradients, gradients) < 1e-6


def test_empty_rows_are_as_rows_without_weight(batch, whole, whole_of, largest_difference):
    """Nothing that attention makes of a row without a token reaches loss or gradient."""
    kept = (np.arange(8) < 4).astype(np.int32)[:, None]
    empty = {name: value * kept.astype(value.dtype) for name, value in batch.items()}
    loss, gradients = whole_of(empty)
    unweighted_loss, unweighted = whole_of({**batch, "weights": empty["weights"]})
    assert abs(loss - whole[0]) > 1e-3
    assert loss == pytest.approx(unweighted_loss, rel=1e-6)
    assert largest_difference(gradients, unweighted) < 1e-6


def test_a_batch_without_a_weight_has_no_gradient(batch, whole_of):
    loss, gradients = whole_of({**batch, "weights": 0 * batch["weights"]})
    assert loss == 0
    assert not any(g.any() for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_with_bfloat16_products_the_state_stays_float32(make_bert, sgd, batch, accumulation):
    bert = make_bert(dropout=0.1, precision="bfloat16")
    state = bert.state(sgd)
    step = make_train_step(classification_loss(bert.apply), sgd, accumulation)
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
    assert {x.dtype.name for x in metrics.values()} == {"float32"}


def draw(params, key, batch):
    """The gradient is a number drawn from the key, once a row."""
    return Sums(params * jax.random.uniform(key), jnp.float32(len(batch["rows"])))


def drawn(accumulation: int, steps: int) -> list[float]:
    optimizer = optax.sgd(1.0)
    step = jax.jit(make_train_step(draw, optimizer, accumulation))
    state = init_state(jnp.float32(0), optimizer, seed=5)
    batch = {"rows": np.zeros((accumulation, 1), np.float32)}
    found = []
    for _ in range(steps):
        before = state.params
        state, _ = step(state, batch)
        found.append(float(before - state.params))
    assert int(state.step) == steps
    return found


def test_the_key_of_a_step_is_folded_from_its_number():
    keys = [jax.random.fold_in(jax.random.key(5), step) for step in range(3)]
    expected = [float(jax.random.uniform(key)) for key in keys]
    assert drawn(accumulation=1, steps=3) == pytest.approx(expected, rel=1e-6)


def test_each_part_of_a_step_draws_its_own():
    keys = jax.random.split(jax.random.fold_in(jax.random.key(5), 0), 2)
    expected = sum(float(jax.random.uniform(key)) for key in keys) / 2
    assert drawn(accumulation=2, steps=1) == pytest.approx([expected], rel=1e-6)


def test_metrics_are_the_mean_loss_and_the_norm_before_clipping():
    def loss(params, key, batch):
        return Sums((params * batch["x"]).sum(), batch["x"].sum())

    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(1.0))
    state = init_state(jnp.array([3.0, 5.0]), optimizer, seed=0)
    batch = {"x": jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])}
    state, metrics = jax.jit(make_train_step(loss, optimizer))(state, batch)
    assert float(metrics["loss"]) == pytest.approx((3 * 3 + 5 * 1) / 4)  # of the gradient [3, 1]/4
    assert float(metrics["grad_norm"]) == pytest.approx(10**0.5 / 4)
    clipped = 0.5 * np.array([3, 1]) / 10**0.5
    np.testing.assert_allclose(state.params, [3, 5] - clipped, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_metrics_tell_of_a_gradient_that_is_not_finite(bad):
    def loss(params, key, batch):
        return Sums((params * batch["x"]).sum(), jnp.float32(1))

    optimizer = optax.sgd(1.0)
    state = init_state(jnp.zeros(2), optimizer, seed=0)
    _, metrics = make_train_step(loss, optimizer)(state, {"x": jnp.array([1.0, bad])})
    assert not np.isfinite(metrics["grad_norm"])
