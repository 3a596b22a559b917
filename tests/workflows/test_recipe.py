"""What a fine-tuning does between its data and its loop."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from bertjax.training.vocabulary import Vocabulary
from bertjax.workflows.configs import FinetuneConfig
from bertjax.workflows.finetune import finetune
from bertjax.workflows.recipe import balanced_weights, load_start, narrow

IDS = np.array([[0, 1, 2, 3]], np.int32)


@pytest.fixture
def config(tiny_folder: Path, table_file: Path, tmp_path: Path) -> FinetuneConfig:
    return FinetuneConfig(
        data=str(table_file),
        text=("title", "description"),
        label="tag",
        checkpoint=str(tiny_folder),
        out=tmp_path / "run",
        epochs=1,
        batch_size=16,
        precision="float32",
    )


def logits(config: FinetuneConfig, key: jax.Array | None) -> np.ndarray:
    checkpoint = load_start(config, ("a", "b", "c"))
    with_own_head = replace(checkpoint, config=replace(checkpoint.config, classifier_dropout=0.5))
    small = narrow(with_own_head, Vocabulary.of([IDS[0]], checkpoint.config), config)
    return np.asarray(jax.jit(small.model.apply)(small.params, key, IDS).logits)


def test_without_dropout_a_key_changes_nothing(config):
    key = jax.random.key(1)
    plain = logits(config, None)
    np.testing.assert_array_equal(logits(replace(config, dropout=0.0), key), plain)
    own, half = logits(config, key), logits(replace(config, dropout=0.5), key)
    for one, other in ((own, plain), (half, plain), (half, own)):
        assert np.abs(one - other).max() > 1e-3


def test_the_written_model_keeps_the_dropout_of_its_checkpoint(config):
    result = finetune(replace(config, dropout=0.3), verbose=False)
    model = json.loads((result.folder / "config.json").read_text())
    assert model["hidden_dropout_prob"] == model["attention_probs_dropout_prob"] == 0.1
    run = json.loads((result.folder / "bertjax.json").read_text())
    assert run["settings"]["dropout"] == 0.3


def test_balanced_weights_have_mean_1_over_the_rows():
    counts = np.array([1.0, 3.0, 0.5])
    weights = balanced_weights(counts)
    np.testing.assert_allclose(weights, [1.5, 0.5, 3.0])
    assert (weights * counts).sum() == counts.sum()
    assert balanced_weights(np.array([2, 2, 0])).tolist() == [2 / 3, 2 / 3, 0]
