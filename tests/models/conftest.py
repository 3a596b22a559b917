"""A tiny BERT with weights large enough that a wrong one shows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

from bertjax.models.configs import BertConfig
from bertjax.models.heads import make_model


@pytest.fixture
def tiny() -> BertConfig:
    """Two layers, two heads of four; no dropout."""
    return BertConfig(
        vocab_size=29,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        type_vocab_size=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=("a", "b", "c"),
    )


@pytest.fixture
def build(tiny, random_params) -> Callable:
    """(task, config, precision, ...) -> a model and its random parameters."""

    def build(task: str, config: BertConfig = tiny, precision: str = "float32", **options):
        model = make_model(config, task, precision, **options)
        shape = (1, 1, 2) if task == "multiple-choice" else (1, 2)
        return model, random_params(model, jnp.ones(shape, jnp.int32))

    return build


@pytest.fixture(autouse=True)
def strict_promotion():
    """The model mixes no types unless it says so."""
    with jax.numpy_dtype_promotion("strict"):
        yield
