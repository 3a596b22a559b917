from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from bertjax.models.configs import BertConfig
from bertjax.models.dropout import dropout
from bertjax.models.flash_attention import flash_attend
from bertjax.models.heads import make_model
from bertjax.training.losses import Sums, classification_loss
from bertjax.training.parallel import make_runner, mesh_runner
from bertjax.training.steps import init_state, make_train_step

KINDS = ("jit", "pmap", "mesh")


@pytest.fixture(scope="module")
def start(make_bert, sgd):
    return make_bert().state(sgd)


@pytest.fixture(scope="module")
def two_epochs(texts):
    return [batch for epoch in range(2) for batch in texts.batches(epoch)]


@pytest.fixture(scope="module")
def one_device(bert_runner, start, two_epochs, run_exactly):
    return run_exactly(bert_runner("jit", 0.0), start, two_epochs)


@pytest.mark.parametrize("kind", ["pmap", "mesh"])
def test_eight_devices_equal_one(
    kind, bert_runner, start, two_epochs, one_device, run_exactly, largest_difference
):
    runner = bert_runner(kind, 0.0)
    assert len(runner.place(start).step.devices()) == 8
    losses, gradients, params = run_exactly(runner, start, two_epochs)
    assert losses == pytest.approx(one_device[0], rel=1e-12)
    assert largest_difference(gradients, one_device[1]) < 1e-12
    assert largest_difference(params, one_device[2]) < 1e-12


def test_the_steps_above_change_the_parameters(start, one_device, largest_difference):
    assert largest_difference(one_device[2], start.params) > 0.1


def test_a_mesh_drops_what_one_device_drops(
    make_bert, bert_runner, sgd, two_epochs, run_exactly, largest_difference
):
    state = make_bert(0.1).state(sgd)
    exact, same = (
        run_exactly(bert_runner(kind, 0.1), state, two_epochs) for kind in ("jit", "mesh")
    )
    assert same[0] == pytest.approx(exact[0], rel=1e-12)
    assert largest_difference(same[1], exact[1]) < 1e-12
    assert largest_difference(same[2], exact[2]) < 1e-12
    other = run_exactly(
        bert_runner("jit", 0.1), state.replace(key=jax.random.key(1)), two_epochs[:1]
    )
    assert largest_difference(other[1], exact[1]) > 1e-2


def test_a_kernel_runs_on_the_rows_that_each_device_of_a_mesh_has():
    def loss(params, key, batch):
        heads = params[batch["input_ids"]].reshape(8, 20, 2, 16)
        together = jnp.stack([heads] * 3, axis=2)  # queries, keys and values
        x = flash_attend(together, batch["segment_ids"], 0.1, key, "cpu")
        return Sums((x**2).sum(), jnp.float32(x.size))

    rng = np.random.default_rng(0)
    optimizer = optax.sgd(1.0)
    state = init_state(jnp.asarray(rng.normal(size=(50, 32)), jnp.float32), optimizer, seed=0)
    batch = {
        "input_ids": rng.integers(0, 50, (8, 20)).astype(np.int32),
        "segment_ids": np.repeat([[1] * 8 + [2] * 9 + [0] * 3], 8, 0).astype(np.int32),
    }
    ends = []
    for kind in ("jit", "mesh"):
        runner = make_runner(kind, loss, optimizer)
        placed = runner.place(state), runner.place_batch(batch)
        text = runner.step.lower(*placed).compile().as_text()
        assert ("all-reduce" in text) == (kind == "mesh")  # of the gradient
        assert "all-gather" not in text
        ends.append(runner.collect(runner.step(*placed)[0].params))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-6)
    assert float(jnp.abs(ends[0] - state.params).max()) > 1e-3


@pytest.fixture
def assert_repeats(run, assert_same_bits):
    """Twice the same, and another seed gives something else."""

    def check(runner, state, batches):
        first, again = (run(runner, state, batches) for _ in range(2))
        assert_same_bits(again, first)
        other = run(runner, state.replace(key=jax.random.key(1)), batches[:1])
        assert other[0][0] != first[0][0]

    return check


@pytest.mark.parametrize("kind", ["jit", "mesh"])
def test_a_seed_gives_a_bert_the_same_bits_each_time(
    kind, make_bert, bert_runner, sgd, two_epochs, assert_repeats
):
    state = make_bert(0.1).state(sgd)
    assert_repeats(bert_runner(kind, 0.1), state, two_epochs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_bits_each_time(
    kind, bag, bag_runner, sgd, two_epochs, assert_repeats
):
    assert_repeats(bag_runner(kind), bag.state(sgd), two_epochs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_that_was_given_stays(kind, run, bag, bag_runner, sgd, two_epochs):
    state = bag.state(sgd)
    before = jax.device_get((state.params, jax.random.key_data(state.key)))
    run(bag_runner(kind), state, two_epochs[:2])
    assert not any(x.is_deleted() for x in jax.tree.leaves(state))
    after = jax.device_get((state.params, jax.random.key_data(state.key)))
    jax.tree.map(np.testing.assert_array_equal, after, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_uses_up_the_state_that_was_placed(kind, bag, bag_runner, sgd, two_epochs):
    """So that two states never need memory at once."""
    runner = bag_runner(kind)
    state = runner.place(bag.state(sgd))
    after, _ = runner.step(state, runner.place_batch(two_epochs[0]))
    read = state.params, state.opt_state.inner  # all but the gradients of the step before
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(read))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize("kind", KINDS)
def test_a_collected_state_can_be_placed_again(
    kind, bag, bag_runner, sgd, two_epochs, assert_same_bits
):
    runner, start = bag_runner(kind), bag.state(sgd)
    state, _ = runner.step(runner.place(start), runner.place_batch(two_epochs[0]))
    collected = runner.collect(state)
    assert jax.tree.map(jnp.shape, collected) == jax.tree.map(jnp.shape, start)
    assert {d for x in jax.tree.leaves(collected) for d in x.devices()} == {jax.devices()[0]}
    ends = []
    for placed in (runner.place(collected), state):
        after, _ = runner.step(placed, runner.place_batch(two_epochs[1]))
        ends.append(jax.device_get(runner.collect((after.params, after.opt_state))))
    assert_same_bits(*ends)


@pytest.mark.parametrize("kind", ["jit", "mesh"])
def test_the_first_step_compiles_nothing_if_that_was_done_ahead(
    kind, bag, sgd, two_epochs, compiled
):
    runner, start = make_runner(kind, classification_loss(bag.apply), sgd), bag.state(sgd)
    batch = runner.place_batch(two_epochs[0])
    state = runner.place(start)
    jax.device_get(runner.collect(state.params))
    compiled.clear()
    runner.compile(jax.eval_shape(lambda: start), batch)
    assert len(compiled) == 1
    state, metrics = runner.step(state, batch)
    assert len(compiled) == 1
    assert float(metrics["loss"]) > 0


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The events of compiling."""
    found: list[str] = []

    def listen(event: str, duration_secs: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module")
def without_dropout(bag):
    def apply(params, key, input_ids, segment_ids, max_segments):
        return bag.apply(params, None, input_ids, segment_ids, max_segments)

    return classification_loss(apply)


@pytest.fixture(scope="module")
def uneven(texts):
    """Sixteen rows, of unequal weights."""
    first, second, *_ = texts.batches(0)
    batch = {name: np.concatenate([first[name], second[name]]) for name in first}
    batch["weights"][::3] *= 2.5
    return batch


@pytest.fixture(scope="module")
def at_once(run, bag, sgd, without_dropout, uneven):
    return run(make_runner("jit", without_dropout, sgd), bag.state(sgd), [uneven])


@pytest.mark.parametrize("kind", KINDS)
def test_accumulation_changes_no_gradient(
    kind, run, bag, sgd, without_dropout, uneven, at_once, largest_difference
):
    runner = make_runner(kind, without_dropout, sgd, accumulation=2)
    losses, gradients, _ = run(runner, bag.state(sgd), [uneven])
    assert losses == pytest.approx(at_once[0], rel=1e-6)
    assert largest_difference(gradients, at_once[1]) < 1e-6


def test_each_device_of_pmap_draws_its_own():
    def draw(params, key, batch):
        return Sums(params * jax.random.uniform(key), jnp.float32(1))

    optimizer = optax.sgd(1.0)
    runner = make_runner("pmap", draw, optimizer)
    state = runner.place(init_state(jnp.float32(0), optimizer, seed=5))
    state, _ = runner.step(state, runner.place_batch({"rows": np.zeros((8, 1), np.float32)}))
    key = jax.random.fold_in(jax.random.key(5), 0)
    draws = [float(jax.random.uniform(jax.random.fold_in(key, device))) for device in range(8)]
    assert -float(runner.collect(state.params)) == pytest.approx(sum(draws) / 8, rel=1e-6)


def test_each_device_of_pmap_drops_its_own_at_the_same_rate():
    """A device's row of the gradient is what it multiplied by: 0, or 2 with a rate of a half."""
    size, sigmas = 1 << 16, 5.0
    model = hk.transform(lambda x: dropout(x, 0.5))

    def kept(params, key, batch):
        factors = model.apply({}, key, jnp.ones(size))
        return Sums((params * batch["own"].T * factors).sum(), jnp.float32(1))

    optimizer = optax.sgd(1.0)
    runner = make_runner("pmap", kept, optimizer)
    state = runner.place(init_state(jnp.zeros((8, size)), optimizer, seed=5))
    state, _ = runner.step(state, runner.place_batch({"own": np.eye(8, dtype=np.float32)}))
    factors = -8 * np.asarray(runner.collect(state.params))  # the mean is over devices
    assert set(np.unique(factors)) == {0.0, 2.0}
    signs = factors - 1
    assert np.abs(signs.mean(axis=1)).max() * np.sqrt(size) < sigmas
    products = signs @ signs.T / np.sqrt(size)  # of two devices: mean 0, deviation 1
    assert np.abs(products[~np.eye(8, dtype=bool)]).max() < sigmas


def test_a_mesh_may_have_fewer_devices(run, bag, bag_runner, sgd, texts, largest_difference):
    mesh = Mesh(np.array(jax.devices()[4:8]).reshape(4, 1), ("data", "fsdp"))
    runner = mesh_runner(make_train_step(classification_loss(bag.apply), sgd), mesh)
    assert len(runner.place(bag.state(sgd)).step.devices()) == 4
    batches = [*texts.batches(0)]
    found = run(runner, bag.state(sgd), batches)
    expected = run(bag_runner("jit"), bag.state(sgd), batches)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert largest_difference(found[1], expected[1]) < 1e-6


def test_an_unknown_kind_is_named(bag, sgd):
    with pytest.raises(ValueError, match="'threads' is not one of jit, pmap, mesh"):
        make_runner("threads", classification_loss(bag.apply), sgd)


@pytest.fixture(scope="module")
def deep(random_params):
    """remat, accumulation, vocabulary -> the step of a BERT of four layers, its state and batch."""
    config = BertConfig(
        hidden_size=128,  # narrower ones take XLA longer to compile
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=64,
        id2label=tuple("abc"),
    )
    batch = {
        "input_ids": np.random.default_rng(0).integers(1, 50, (8, 64)).astype(np.int32),
        "segment_ids": np.repeat([[1] * 20 + [2] * 40 + [0] * 4], 8, 0).astype(np.int32),
        "labels": np.arange(16, dtype=np.int32).reshape(8, 2) % 3,
        "weights": np.ones((8, 2), np.float32),
    }

    @cache
    def make(remat: bool, accumulation: int = 1, vocabulary: int = 50):
        sized = replace(config, vocab_size=vocabulary)
        model = make_model(sized, "text-classification", remat=remat)
        optimizer = optax.sgd(0.1)
        loss = classification_loss(model.apply)
        runner = make_runner("jit", loss, optimizer, accumulation, remat)
        params = random_params(model, batch["input_ids"], deviation=0.02)
        state = runner.place(init_state(params, optimizer, seed=0))
        placed = runner.place_batch(batch)
        return runner.step.lower(state, placed).compile(), state, placed

    return make


def test_rematerialisation_takes_the_same_step_in_less_than_half_the_memory(
    deep, largest_difference
):
    compiled, state, batch = deep(False)
    again, same_state, _ = deep(True)
    plain_bytes, bytes_ = (c.memory_analysis().temp_size_in_bytes for c in (compiled, again))
    assert bytes_ < plain_bytes / 2
    (end, metrics), (same_end, same_metrics) = compiled(state, batch), again(same_state, batch)
    assert float(same_metrics["loss"]) == pytest.approx(float(metrics["loss"]), rel=1e-6)
    assert largest_difference(same_end.params, end.params) < 1e-6


def test_accumulation_takes_less_than_half_the_memory(deep):
    once, parts = (deep(False, n)[0].memory_analysis().temp_size_in_bytes for n in (1, 4))
    assert parts < once / 2


def test_a_larger_vocabulary_takes_no_more_memory(deep):
    """Zeros for the rows that are not looked up would be held through the whole step."""
    few, many = (
        deep(False, vocabulary=n)[0].memory_analysis().temp_size_in_bytes for n in (50, 8000)
    )
    rows = 8000 * 128 * 4
    assert many - few < rows / 4
