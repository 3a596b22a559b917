from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model
from bertjax.training.configs import OptimizerConfig
from bertjax.training.losses import classification_loss
from bertjax.training.optimizer import make_optimizer
from bertjax.training.steps import init_state, make_train_step
from bertjax.training.vocabulary import MODULE, PARAM, Vocabulary, word_table

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
)
TEXTS = [np.array(ids, np.int32) for ids in ([2, 7, 41, 3], [2, 49, 7, 7, 3], [2, 9, 3])]
STEPS = 5


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.of(TEXTS, CONFIG)


@pytest.fixture
def params(random_params):
    model = make_model(CONFIG, "text-classification")
    return random_params(model, jnp.zeros((1, 2), jnp.int32), deviation=0.3)


def train(config: BertConfig, params, texts):
    """With dropout, weight decay large enough to show, and clipping."""
    model = make_model(config, "text-classification")
    ids = np.full((3, 6), config.pad_token_id, np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    segment_ids = np.array([[1] * len(t) + [0] * (6 - len(t)) for t in texts], np.int32)
    labels = np.array([[0], [1], [1]], np.int32)
    batch = {"input_ids": ids, "segment_ids": segment_ids, "labels": labels}
    batch["weights"] = np.ones((3, 1), np.float32)
    # A large eps: else a gradient that is rounding noise moves a parameter as far as any other.
    recipe = OptimizerConfig(learning_rate=1e-2, weight_decay=2.0, clip_norm=0.5, eps=1e-3)
    optimizer = make_optimizer(recipe, STEPS)
    step = jax.jit(make_train_step(classification_loss(model.apply), optimizer))
    state = init_state(params, optimizer, seed=3)
    for _ in range(STEPS):
        state, metrics = step(state, batch)
    return state.params, metrics


def test_the_vocabulary_is_what_is_used_and_padding(vocabulary):
    assert vocabulary.used.tolist() == [0, 2, 3, 7, 9, 41, 49]
    renamed = vocabulary.narrow_ids(TEXTS)
    assert [ids.tolist() for ids in renamed] == [[1, 3, 5, 2], [1, 6, 3, 3, 2], [1, 4, 2]]
    assert {ids.dtype for ids in renamed} == {np.dtype(np.int32)}


@pytest.mark.parametrize("pad", [0, 11, None])
def test_padding_keeps_its_row(pad):
    config = replace(CONFIG, pad_token_id=pad)
    narrow = Vocabulary.of(TEXTS, config)
    assert narrow.used[narrow.narrow_config(config).pad_token_id] == (pad or 0)


@pytest.mark.usefixtures("loose_promotion")
def test_training_the_rows_in_use_is_training_the_whole_table(vocabulary, params):
    """All parameters, and those rows too that only weight decay moves."""
    whole, metrics = train(CONFIG, params, TEXTS)
    narrow_config = vocabulary.narrow_config(CONFIG)
    assert narrow_config.vocab_size == 8
    narrow, narrow_metrics = train(
        narrow_config, vocabulary.narrow_params(params), vocabulary.narrow_ids(TEXTS)
    )
    widened = vocabulary.widen_params(narrow, word_table(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), widened, whole)
    np.testing.assert_allclose(narrow_metrics["loss"], metrics["loss"], rtol=1e-6)
    np.testing.assert_allclose(narrow_metrics["grad_norm"], metrics["grad_norm"], rtol=1e-6)
    unused = np.setdiff1d(np.arange(50), vocabulary.used)
    moved = whole[MODULE][PARAM][unused] / params[MODULE][PARAM][unused]
    assert np.ptp(moved) < 1e-6
    assert moved.mean() < 0.97  # decay is at work


def test_without_training_nothing_changes(vocabulary, params):
    widened = vocabulary.widen_params(vocabulary.narrow_params(params), word_table(params))
    jax.tree.map(np.testing.assert_array_equal, widened, params)
