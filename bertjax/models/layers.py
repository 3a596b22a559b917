"""The small parts of a BERT: dense layer, embeddings."""

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.configs import BertConfig
from bertjax.models.dropout import dropout
from bertjax.models.precision import dense_product, exact_type
from bertjax.models.residual_norm import LayerNorm


class Dense(hk.Module):
    """x [..., D] -> x w + b [..., F]; w [D, F], b [F]. `rounded`: as of `dense_product`."""

    def __init__(
        self, size: int, config: BertConfig, precision: str, name: str, rounded: bool = False
    ):
        super().__init__(name=name)
        self.size = size
        self.init = hk.initializers.RandomNormal(config.initializer_range)
        self.precision = precision
        self.rounded = rounded

    def __call__(self, x: jax.Array) -> jax.Array:
        w, b = self.parameters(x)
        rows = x.reshape(-1, x.shape[-1])  # [n, D]
        y = dense_product(rows, w, b, self.precision, self.rounded)
        return y.reshape(*x.shape[:-1], self.size)  # [..., F]

    def parameters(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """w and b, for x [..., D]."""
        kind = exact_type(x)
        w = hk.get_parameter("w", [x.shape[-1], self.size], kind, init=self.init)
        return w, hk.get_parameter("b", [self.size], kind, init=jnp.zeros)


class Embeddings(hk.Module):
    """Sum of word, position and token-type embeddings, normalised (Devlin et al. 2018, fig. 2)."""

    def __init__(self, config: BertConfig):
        super().__init__(name="embeddings")
        self.config = config

    def __call__(
        self, input_ids: jax.Array, token_type_ids: jax.Array, position_ids: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Three int [B, T] to [B, T, D]; also the word embeddings [V, D] themselves."""
        config = self.config

        def table(size: int, name: str) -> hk.Embed:
            init = hk.initializers.RandomNormal(config.initializer_range)
            return hk.Embed(size, config.hidden_size, w_init=init, name=name)

        words = table(config.vocab_size, "word_embeddings")
        x = look_up(words.embeddings, input_ids)
        x += table(config.type_vocab_size, "token_type_embeddings")(token_type_ids)
        x += table(config.max_position_embeddings, "position_embeddings")(position_ids)
        return dropout(LayerNorm(config)(x), config.hidden_dropout_prob), words.embeddings


@jax.custom_vjp
def look_up(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows [..., D] of a table [V, D], by their numbers [...].

    It has a derivative in reverse: `jax.grad`, but not `jax.jvp`.
    """
    return table[ids]


def _look_up_backward(saved, g):
    table, ids = saved
    # Not plain zeros: these XLA's CPU backend would write before all else, and hold through the
    # step: a tenth of its temporary memory. These are 0 whatever the gradient is.
    zero = 0.0 * (g.ravel()[0] > 0).astype(g.dtype)
    return jnp.full_like(table, zero).at[ids].add(g), None


look_up.defvjp(lambda table, ids: (look_up(table, ids), (table, ids)), _look_up_backward)
