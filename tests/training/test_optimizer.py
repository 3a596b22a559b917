import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from bertjax.training.configs import OptimizerConfig
from bertjax.training.optimizer import (
    _squares,
    _squares_in_parts,
    decay_mask,
    global_norm,
    learning_rate_schedule,
    make_optimizer,
)

pytestmark = pytest.mark.usefixtures("loose_promotion")


def rates(config: OptimizerConfig, steps: int) -> list[float]:
    schedule = learning_rate_schedule(config, steps)
    return [float(schedule(step)) for step in range(steps + 1)]


def test_linear_schedule_by_hand():
    found = rates(OptimizerConfig(learning_rate=1.0, warmup=0.2), 10)
    fall = [1 - step / 8 for step in range(9)]
    assert_allclose(found, [1 / 3, 2 / 3, *fall], rtol=1e-6, atol=1e-7)


def test_cosine_schedule_by_hand():
    found = rates(OptimizerConfig(learning_rate=2.0, warmup=0.2, decay="cosine"), 10)
    fall = [1 + np.cos(np.pi * step / 8) for step in range(9)]
    assert_allclose(found, [2 / 3, 4 / 3, *fall], rtol=1e-6, atol=1e-7)


def test_without_warmup_the_first_step_is_at_the_highest_rate():
    assert_allclose(
        rates(OptimizerConfig(learning_rate=1.0, warmup=0.0), 4), [1, 0.75, 0.5, 0.25, 0]
    )


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_step_of_a_short_run_has_a_rate(warmup, steps):
    found = rates(OptimizerConfig(learning_rate=1.0, warmup=warmup), steps)[:steps]
    assert min(found) > 0
    assert max(found) <= 1


def test_matrices_and_embeddings_of_a_bert_are_decayed_and_nothing_else(make_bert):
    params = make_bert().params
    mask = decay_mask(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    for module, tensors in params.items():
        for name, tensor in tensors.items():
            assert mask[module][name] == (tensor.ndim == 2), f"{module} {name}"


PARAMS = {"dense": {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([3.0])}}
GRADIENTS = {"dense": {"w": jnp.array([[0.3, -0.6]]), "b": jnp.array([0.2])}}  # of norm 0.7


def test_two_updates_by_hand():
    config = OptimizerConfig(
        learning_rate=0.1, warmup=0.0, weight_decay=0.5, clip_norm=0.0, b1=0.8, b2=0.9, eps=1e-3
    )
    optimizer = make_optimizer(config, steps=10)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(2):
        updates, state = optimizer.update(GRADIENTS, state, params)
        params = optax.apply_updates(params, updates)

    def adamw(x: float, g: float, decay: float) -> float:
        mean = square = 0.0
        for step in (1, 2):
            mean, square = 0.8 * mean + 0.2 * g, 0.9 * square + 0.1 * g * g
            direction = (mean / (1 - 0.8**step)) / (np.sqrt(square / (1 - 0.9**step)) + 1e-3)
            x -= 0.1 * (1 - (step - 1) / 10) * (direction + decay * x)
        return x

    assert_allclose(params["dense"]["w"], [[adamw(1, 0.3, 0.5), adamw(-2, -0.6, 0.5)]], rtol=1e-6)
    assert_allclose(params["dense"]["b"], [adamw(3, 0.2, 0.0)], rtol=1e-6)


def first_mean(clip_norm: float, scale: float) -> np.ndarray:
    """AdamW's mean of the bias's gradients after one update, which is 0.1 of what it was given."""
    optimizer = make_optimizer(OptimizerConfig(clip_norm=clip_norm), steps=10)
    gradients = jax.tree.map(lambda g: scale * g, GRADIENTS)
    _, state = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)
    return np.asarray(optax.tree.get(state, "mu")["dense"]["b"])


@pytest.mark.parametrize(
    ("clip_norm", "scale", "expected"),
    [(1.0, 1.0, 0.2), (1.0, 10.0, 0.2 / 0.7), (3.5, 10.0, 1.0), (0.0, 10.0, 2.0)],
)
def test_gradients_are_clipped_to_their_norm(clip_norm, scale, expected):
    assert_allclose(first_mean(clip_norm, scale), [0.1 * expected], rtol=1e-5)


def normal_tree(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    shapes = {"w": (16, 5), "odd": (9, 3), "vocabulary": (11, 16), "b": (7,), "scalar": ()}
    return {"dense": {name: jnp.array(rng.normal(size=s), "f4") for name, s in shapes.items()}}


def test_the_norm_is_that_of_all_entries():
    tree = normal_tree(0)
    entries = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])
    assert_allclose(jax.jit(global_norm)(tree), np.linalg.norm(entries), rtol=1e-6)


@pytest.mark.parametrize("squares", [_squares, _squares_in_parts])
def test_the_squares_of_every_device_are_those_of_all_entries(squares):
    """`global_norm` takes one of them on CPUs and the other elsewhere."""
    arrays = jax.tree.leaves(normal_tree(0))
    expected = sum(np.square(np.asarray(x, np.float64)).sum() for x in arrays)
    found = jax.jit(squares)(*arrays)
    assert (found.dtype, found.shape) == (jnp.float32, ())
    assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(64, 48), (11, 48)])
def test_a_processor_never_writes_the_squares_of_a_matrix(written, shape):
    types = written(global_norm, jnp.ones(shape))
    assert "f32[]" in types
    assert f"f32[{shape[0]},{shape[1]}]" not in types


@pytest.mark.parametrize("clip_norm", [0.5, 100.0])
def test_the_optimizer_equals_optax_own_chain(clip_norm):
    config = OptimizerConfig(clip_norm=clip_norm, weight_decay=0.1)
    schedule = learning_rate_schedule(config, 5)
    adamw = optax.adamw(schedule, weight_decay=0.1, mask=decay_mask)
    ours, theirs = (
        make_optimizer(config, 5),
        optax.chain(optax.clip_by_global_norm(clip_norm), adamw),
    )
    params = [normal_tree(1), normal_tree(1)]
    states = [ours.init(params[0]), theirs.init(params[1])]
    for step in range(5):
        for i, optimizer in enumerate((ours, theirs)):
            updates, states[i] = optimizer.update(normal_tree(2 + step), states[i], params[i])
            params[i] = optax.apply_updates(params[i], updates)
    for one, other in zip(*map(jax.tree.leaves, params), strict=True):
        assert_allclose(one, other, rtol=1e-6)


def test_one_program_serves_every_rate_length_decay_and_limit():
    other = OptimizerConfig(learning_rate=1.0, warmup=0.5, weight_decay=0.3, clip_norm=7.0)
    programs = set()
    for config, steps in ((OptimizerConfig(), 10), (other, 300)):
        optimizer = make_optimizer(config, steps)
        update = jax.jit(optimizer.update)
        programs.add(update.lower(GRADIENTS, optimizer.init(PARAMS), PARAMS).as_text())
    assert len(programs) == 1
