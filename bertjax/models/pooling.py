"""Sentence embeddings as sentence-transformers computes them (Reimers & Gurevych 2019, §3)."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from bertjax.models import segments


@dataclass(frozen=True)
class SentencePooling:
    """How one vector a sequence is made of its tokens' vectors."""

    mode: Literal["mean", "cls"]  # mean of all real tokens, or the first token
    normalize: bool  # to length 1

    def __call__(self, x: jax.Array, segment_ids: jax.Array, max_segments: int) -> jax.Array:
        """x [B, T, D], segment_ids [B, T] -> [B, S, D]."""
        if self.mode == "mean":
            pooled = segments.mean_tokens(x, segment_ids, max_segments)
        else:
            first = segments.first_tokens(segment_ids, max_segments)
            pooled = segments.take_tokens(x, first)
        if not self.normalize:
            return pooled
        # Bounded before the root, whose gradient at the zeros of an absent sequence is not finite.
        squared = jnp.square(pooled).sum(axis=-1, keepdims=True)
        return pooled / jnp.sqrt(jnp.maximum(squared, 1e-24))
