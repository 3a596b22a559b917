"""Embeddings of packed texts are those of each text alone."""

import jax
import numpy as np

from bertjax.checkpoints.folder import load
from bertjax.data.tokens import tokenize
from bertjax.workflows.embedding import embed


def test_a_packed_text_has_the_embedding_that_it_has_in_a_row_of_its_own(tiny_folder):
    checkpoint = load(tiny_folder, "feature-extraction")
    texts = ["a cat", "", "rain and snow over the bank " * 9, "horse"]
    found = embed(checkpoint, tokenize(checkpoint.tokenizer, texts * 3, 128).ids)
    assert found.shape == (12, 64)
    padded = checkpoint.tokenizer(texts, padding=True, return_tensors="np")
    ids, mask = padded["input_ids"], padded["attention_mask"]
    apply = jax.jit(lambda params: checkpoint.model.apply(params, None, ids, attention_mask=mask))
    hidden = np.asarray(apply(checkpoint.params).last_hidden_state)
    means = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.tile(expected, (3, 1)), atol=1e-5)
