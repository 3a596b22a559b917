"""Self-attention within packed sequences (Vaswani et al. 2017, §3.2; Devlin et al. 2018, §3).

B rows, T tokens, Q of them that attend, N heads, K width of a head, D = N K.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.configs import BertConfig
from bertjax.models.dropout import dropout
from bertjax.models.fused_attention import Kernel, choose_kernel, fused_attend
from bertjax.models.layers import Dense
from bertjax.models.precision import dense_product, exact, head_product, rounds_results

_PROJECTIONS = ("query", "key", "value")


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    dropout_rate: float,
    precision: str,
) -> tuple[jax.Array, jax.Array]:
    """softmax(q k^T / sqrt(K)) v over the keys that `mask` shows.

    Args:
        query: [B, Q, N, K] float32.
        key, value: [B, T, N, K] float32.
        mask: bool [B, Q, T], true where the query (axis 1) sees the key (axis 2).
        dropout_rate: of the probabilities.

    Returns:
        The attended values [B, Q, N, K] and the probabilities [B, N, Q, T], both float32.
    """
    scores = head_product("bqnk,bsnk->bnqs", query, key, precision) * query.shape[-1] ** -0.5
    # A finite bias, as in transformers: a query that sees nothing gets a mean and not a NaN.
    scores = jnp.where(mask[:, None], scores, jnp.finfo(scores.dtype).min)
    probabilities = dropout(jax.nn.softmax(scores, axis=-1), dropout_rate)  # [B, N, Q, T]
    return head_product("bnqs,bsnk->bqnk", probabilities, value, precision), probabilities


class SelfAttention(hk.Module):
    """Multi-head self-attention with its output projection, before the residual sum."""

    def __init__(self, config: BertConfig, precision: str, keep_probabilities: bool = True):
        super().__init__(name="attention")
        self.config = config
        self.precision = precision
        self.keep_probabilities = keep_probabilities

    def __call__(
        self, queries: jax.Array, x: jax.Array, mask: jax.Array, segment_ids: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """What some tokens see of all: [B, Q, D] and probabilities [B, N, Q, T] or None.

        Args:
            queries: [B, Q, D], some rows of x, or x itself.
            x: [B, T, D].
            mask: bool [B, Q, T].
            segment_ids: int [B, T], from which a kernel makes the mask itself.
        """
        config = self.config

        rate = config.attention_probs_dropout_prob
        kernel = self._kernel(x.shape[1]) if queries is x else None
        if kernel is None:
            query, key = self._project(queries, "query"), self._project(x, "key")
            value = self._project(x, "value")
            attended, probabilities = attend(query, key, value, mask, rate, self.precision)
        else:
            heads = self._heads(x)
            # As `attend` takes one, and where it does: all others stay the same, at init too.
            dropout_key = hk.maybe_next_rng_key()
            options = mask, segment_ids, rate, dropout_key
            attended, probabilities = fused_attend(kernel, heads, *options), None
        return self._dense("output")(attended.reshape(queries.shape)), probabilities  # [B, Q, D]

    @hk.transparent  # what it makes is named as if the caller had made it
    def _project(self, tokens: jax.Array, name: str) -> jax.Array:
        """[B, Q or T, N, K] float32."""
        heads = self.config.num_attention_heads, self.config.head_size
        return exact(self._dense(name)(tokens)).reshape(*tokens.shape[:2], *heads)

    @hk.transparent  # what it makes is named as if the caller had made it
    def _heads(self, x: jax.Array) -> jax.Array:
        """Queries, keys and values from one product, [B, T, 3, N, K]."""
        config = self.config
        parts = [self._dense(name).parameters(x) for name in _PROJECTIONS]
        w, b = (jnp.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True))
        rows = x.reshape(-1, config.hidden_size)
        heads = dense_product(rows, w, b, self.precision, rounded=True)
        return heads.reshape(*x.shape[:2], 3, config.num_attention_heads, config.head_size)

    @hk.transparent  # what it makes is named as if the caller had made it
    def _dense(self, name: str) -> Dense:
        size, precision = self.config.hidden_size, self.precision
        return Dense(size, self.config, precision, name, rounds_results(precision))

    def _kernel(self, tokens: int) -> Kernel | None:
        """The one kernel, if any, that does all that is asked for, in rows of T tokens."""
        if self.keep_probabilities:
            return None
        config = self.config
        drops = config.attention_probs_dropout_prob > 0
        drops = drops and hk.maybe_get_rng_sequence_state() is not None
        return choose_kernel(config.head_size, tokens, self.precision, drops)
