"""Embeddings of packed texts are those of each text alone."""

import numpy as np

from bertjax.checkpoints.folder import load
from bertjax.data.tokens import tokenize
from bertjax.workflows.embedding import embed


def test_a_packed_text_has_the_embedding_that_it_has_alone(tiny_folder):
    checkpoint = load(tiny_folder, "feature-extraction")
    texts = ["a cat", "", "rain and snow over the bank " * 9, "horse"] * 3
    ids = tokenize(checkpoint.tokenizer, texts, 128).ids
    found = embed(checkpoint, ids)
    assert found.shape == (12, 64)
    for row, tokens in zip(found[:4], ids, strict=False):
        output = checkpoint.model.apply(checkpoint.params, None, tokens[None])
        mean = np.asarray(output.last_hidden_state[0]).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(found[:4], found[8:], atol=1e-5)
