"""Embeddings of many texts at once, from any checkpoint."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np

from bertjax.checkpoints.folder import Checkpoint
from bertjax.data.bulk import plan_bulk
from bertjax.models.compiler import compiler_options
from bertjax.models.pooling import SentencePooling
from bertjax.models.precision import round_weights
from bertjax.serving.packed import compute_packed

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
    groups = plan_bulk([len(ids) for ids in token_ids], config.hidden_size)
    return compute_packed(
        partial(program, params), token_ids, groups, config.hidden_size, config.padding_id
    )
