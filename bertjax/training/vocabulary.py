"""Train only those rows of the word table that the texts at hand use.

No text, no gradient: weight decay alone moves the other rows, each by the same factor. So a step
works on the rows that are used and on one row of ones, which no text uses either and which ends as
that factor. A table of words is the half of a small BERT, and most of it is never used: without
these rows its gradient, moments and update cost next to nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.models.configs import BertConfig

MODULE, PARAM = "bert/embeddings/word_embeddings", "embeddings"


@dataclass(frozen=True)
class Vocabulary:
    """The token ids in use; the i-th of them is called i."""

    used: np.ndarray  # [U], ascending

    @classmethod
    def of(cls, token_ids: Iterable[np.ndarray], config: BertConfig) -> "Vocabulary":
        """The ids of all texts that are trained on or scored in training, and that of padding."""
        present = np.zeros(config.vocab_size, bool)
        present[config.padding_id] = True
        for ids in token_ids:
            present[ids] = True
        return cls(np.flatnonzero(present))

    def narrow_ids(self, token_ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Arrays of token ids [T_n] under their new names, int32."""
        return [np.searchsorted(self.used, ids).astype(np.int32) for ids in token_ids]

    def narrow_config(self, config: BertConfig) -> BertConfig:
        """The config of a model that reads these names, with the row of ones."""
        pad = int(np.searchsorted(self.used, config.padding_id))
        return replace(config, vocab_size=len(self.used) + 1, pad_token_id=pad)

    def narrow_params(self, params):
        """Parameters whose word table is [U + 1, D]: the rows in use, and one of ones."""
        table = word_table(params)
        ones = np.ones((1, table.shape[1]), table.dtype)
        return _with_table(params, jnp.asarray(np.concatenate([table[self.used], ones])))

    def widen_params(self, params, words: np.ndarray):
        """Trained parameters with all rows: those not in use as in `words` [V, D], decayed."""
        table = word_table(params)
        rows = words * table[-1]
        rows[self.used] = table[:-1]
        return _with_table(params, jnp.asarray(rows))


def word_table(params) -> np.ndarray:
    """The rows of all words [V, D], on the host, where nothing is compiled for them."""
    return np.asarray(params[MODULE][PARAM])


def _with_table(params, table: jax.Array):
    return {**params, MODULE: {**params[MODULE], PARAM: table}}
