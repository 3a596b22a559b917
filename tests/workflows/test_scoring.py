"""Packed evaluation gives each row the logits that it has alone."""

import jax
import numpy as np

from bertjax.checkpoints.folder import load
from bertjax.data.tokens import tokenize
from bertjax.workflows.prepare import TokenizedRows
from bertjax.workflows.scoring import make_evaluate, make_pass, score_with

TEXTS = ["cat", "rain snow wind and more rain than snow", "bank tax", "dog", "", "euro " * 40] * 20


def test_logits_and_scores(run_folder):
    checkpoint = load(run_folder)
    ids = tokenize(checkpoint.tokenizer, TEXTS, 128).ids
    labels = np.array([0, 2, 1, 0, 0, 1] * 20, np.int32)
    rows = TokenizedRows(ids, labels, 0)
    forward = make_pass(checkpoint, rows.lengths)
    score = score_with(forward)
    logits = score(checkpoint.params, rows)
    pooled = forward.pooled(checkpoint.params, ids)
    apply = jax.jit(checkpoint.model.apply, static_argnames="output_pooler")
    for i in (0, 1, 4, 5, 119):
        alone = apply(checkpoint.params, None, ids[i][None], output_pooler=True)
        np.testing.assert_allclose(logits[i], alone.logits[0], atol=2e-5)
        np.testing.assert_allclose(pooled[i], alone.pooler_output[0], atol=2e-5)

    found = make_evaluate(checkpoint.labels, rows, score)(checkpoint.params)
    assert found["accuracy"] == (logits.argmax(1) == labels).mean()
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = -log_probabilities[np.arange(120), labels].mean()
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
