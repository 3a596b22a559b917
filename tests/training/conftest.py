"""Two small classifiers and their batches: a tiny BERT, and a bag of words that compiles at once.

R rows, T tokens a row, S sequences a row, D width, C classes, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.data.batches import packed_batches
from bertjax.data.packing import Plan, plan_packing
from bertjax.models.configs import BertConfig
from bertjax.models.heads import ModelOutput, make_model
from bertjax.models.segments import mean_tokens
from bertjax.training.losses import Batch, classification_loss
from bertjax.training.parallel import Runner, make_runner
from bertjax.training.steps import TrainState, init_state

V, C, SEED = 50, 3, 7


@dataclass(frozen=True)
class Texts:
    """Labelled texts of random tokens, packed for eight devices."""

    ids: list[np.ndarray]
    labels: np.ndarray
    plan: Plan

    def batches(self, epoch: int) -> Iterator[Batch]:
        yield from packed_batches(self.ids, self.labels, self.plan, SEED, epoch)


@pytest.fixture(scope="session")
def texts() -> Texts:
    """62 texts in 4 steps an epoch."""
    rng = np.random.default_rng(SEED)
    ids = [rng.integers(1, V, n).astype(np.int32) for n in rng.integers(3, 15, 62)]
    labels = rng.integers(0, C, len(ids)).astype(np.int32)
    lengths = [len(text) for text in ids]
    plan = plan_packing(lengths, 16, SEED, epochs=3, hidden_size=16, row_multiple=8)
    assert (plan.steps, plan.rows) == (4, 8)
    assert plan.max_segments > 1
    return Texts(ids, labels, plan)


@dataclass(frozen=True)
class Classifier:
    """Parameters, and a loss over packed rows."""

    params: Any
    apply: Callable

    def state(self, optimizer: optax.GradientTransformation) -> TrainState:
        return init_state(self.params, optimizer, SEED)


def _random_params(shapes, scale: float):
    """No entry is 0, so that no gradient is 0 by chance; norms stay near 1."""
    rng = np.random.default_rng(SEED)

    def fill(path, leaf):
        middle = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(middle + scale * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.fixture(scope="session")
def make_bert() -> Callable[..., Classifier]:
    """(dropout, precision, width) -> a BERT; with dropout of one layer, to compile faster."""

    def make(dropout: float = 0.0, precision="float32", width: int = 16) -> Classifier:
        config = BertConfig(
            vocab_size=V,
            hidden_size=width,
            num_hidden_layers=1 if dropout else 2,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            id2label=tuple("abc"),
        )
        model = make_model(config, "text-classification", precision)
        ids = jax.ShapeDtypeStruct((1, 4), jnp.int32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), ids)
        return Classifier(_random_params(shapes, 0.2), model.apply)

    return make


@pytest.fixture(scope="session")
def bag() -> Classifier:
    """Mean of word embeddings with dropout, and a dense layer."""

    def apply(params, key, input_ids, segment_ids, max_segments) -> ModelOutput:
        x = params["bag"]["embeddings"][input_ids]  # [R, T, D]
        if key is not None:
            x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0.0)
        pooled = mean_tokens(x, segment_ids, max_segments)  # [R, S, D]
        return ModelOutput(logits=pooled @ params["bag"]["w"] + params["bag"]["b"])

    shapes = {"bag": {"embeddings": (V, 4), "w": (4, C), "b": (C,)}}
    structs = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )
    return Classifier(_random_params(structs, 1.0), apply)


class Recorded(NamedTuple):
    """State of an optimizer that keeps the gradient it was given."""

    gradients: Any
    inner: Any


def recording(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    def init(params):
        return Recorded(jax.tree.map(jnp.zeros_like, params), optimizer.init(params))

    def update(gradients, state, params=None):
        updates, inner = optimizer.update(gradients, state.inner, params)
        return updates, Recorded(gradients, inner)

    return optax.GradientTransformation(init, update)


@pytest.fixture(scope="session")
def sgd() -> optax.GradientTransformation:
    """With momentum; its state also holds the last gradient, as `.gradients`."""
    return recording(optax.sgd(0.1, momentum=0.9))


@pytest.fixture(scope="session")
def bert_runner(make_bert, sgd) -> Callable[[str, float], Runner]:
    """(parallel, dropout) -> a runner of the tiny BERT, compiled once for all tests."""

    @cache
    def make(parallel, dropout: float) -> Runner:
        return make_runner(parallel, classification_loss(make_bert(dropout).apply), sgd)

    return make


@pytest.fixture(scope="session")
def bag_runner(bag, sgd) -> Callable[[str], Runner]:
    """parallel -> a runner of the bag of words, compiled once for all tests."""

    @cache
    def make(parallel) -> Runner:
        return make_runner(parallel, classification_loss(bag.apply), sgd)

    return make


@pytest.fixture(scope="module", autouse=True)
def strict_promotion() -> Iterator[None]:
    """No array changes its type unasked."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def loose_promotion() -> Iterator[None]:
    """optax's AdamW raises a float to an int32 power, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


Run = Callable[[Runner, TrainState, Iterable[Batch]], tuple[list[float], Any, Any]]


@pytest.fixture(scope="session")
def run() -> Run:
    """(runner, state, batches) -> losses, gradients of the first step, parameters at the end."""

    def run(runner, state, batches):
        state, losses, gradients = runner.place(state), [], None
        for batch in batches:
            state, metrics = runner.step(state, runner.place_batch(batch))
            losses.append(float(metrics["loss"]))
            if gradients is None:
                gradients = jax.device_get(runner.collect(state.opt_state.gradients))
        return losses, gradients, jax.device_get(runner.collect(state.params))

    return run


@pytest.fixture(scope="session")
def run_exactly(run) -> Run:
    """The same in float64.

    Two ways to the same numbers agree to 1e-12 there, where rounding hides nothing. In float32 they
    do not to 1e-6, on one processor or another.
    """

    def wide(x):
        return x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

    def run_wide(runner, state, batches):
        with jax.enable_x64(True):
            found = run(runner, jax.tree.map(wide, state), [jax.tree.map(wide, b) for b in batches])
        assert {x.dtype.name for x in jax.tree.leaves(found[1:])} == {"float64"}
        return found

    return run_wide


@pytest.fixture(scope="session")
def largest_difference() -> Callable[[Any, Any], float]:
    """Of two trees of gradients: over all tensors, relative to the largest entry of each.

    The true gradient of a key's bias is 0 (it adds the same to every score of a softmax), so what
    is there is rounding noise, and is measured by the largest entry of all tensors.
    """

    def difference(found, expected) -> float:
        sizes = jax.tree.map(lambda x: float(np.abs(x).max()), expected)
        largest = max(jax.tree.leaves(sizes))

        def of_tensor(path, a, b, size) -> float:
            module, name = (entry.key for entry in path)
            zero = module.endswith("/key") and name == "b"
            return float(np.abs(a - b).max()) / (largest if zero else size)

        tree = jax.tree_util.tree_map_with_path(of_tensor, found, expected, sizes)
        return max(jax.tree.leaves(tree))

    return difference


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[[Any, Any], None]:
    """Two trees have the same structure, types and bits."""

    def check(found, expected) -> None:
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert a.tobytes() == b.tobytes(), f"differ by at most {np.abs(a - b).max()}"

    return check
