"""Embeddings of many texts at once, from any checkpoint."""

from collections.abc import Sequence

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.data.batches import packed_in_order, unpack
from bertjax.data.bulk import plan_bulk
from bertjax.models.compiler import compiler_options
from bertjax.models.pooling import SentencePooling
from bertjax.models.precision import round_weights

_MEAN = SentencePooling("mean", normalize=True)


def embed(checkpoint: Checkpoint, token_ids: Sequence[np.ndarray]) -> np.ndarray:
    """[N, D] float32, of length 1: the mean of a text's tokens in the last layer.

    Args:
        checkpoint: of the task feature-extraction.
        token_ids: N arrays [T_n]; many are packed into rows of shapes that are chosen for them.
    """
    config, model = checkpoint.config, checkpoint.model

    def embeddings(
        params, input_ids: jax.Array, segment_ids: jax.Array, max_segments: int
    ) -> jax.Array:
        """Two int [R, T] -> [R, S, D], of rows of up to S = `max_segments` texts."""
        output = model.apply(
            params, None, input_ids, segment_ids=segment_ids, max_segments=max_segments
        )
        return _MEAN(output.last_hidden_state, segment_ids, max_segments)

    program = jax.jit(embeddings, static_argnums=3, compiler_options=compiler_options())
    params = round_weights(checkpoint.params, checkpoint.precision)
    result = np.zeros((len(token_ids), config.hidden_size), np.float32)
    dispatched = []  # all batches, before the first is waited for
    for group in plan_bulk([len(ids) for ids in token_ids], config.hidden_size):
        ids = [token_ids[text] for text in group.texts]
        for batch in packed_in_order(ids, None, group.plan, config.padding_id):
            texts = np.where(batch["rows_of"] >= 0, group.texts[batch["rows_of"]], -1)
            inputs = batch["input_ids"], batch["segment_ids"]
            dispatched.append((texts, program(params, *inputs, group.plan.max_segments)))
    for texts, values in dispatched:
        unpack(np.asarray(values), texts, result)
    return result
