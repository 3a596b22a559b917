"""The small parts of a BERT: dense layer, embeddings."""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.configs import BertConfig
from bertjax.models.dropout import dropout
from bertjax.models.precision import dense_product
from bertjax.models.residual_norm import LayerNorm


class Dense(hk.Module):
    """x [..., D] -> x w + b [..., F] in the type of `result`; w [D, F], b [F]."""

    def __init__(
        self, size: int, config: BertConfig, precision: str, name: str, result: Any = jnp.float32
    ):
        super().__init__(name=name)
        self.size = size
        self.init = hk.initializers.RandomNormal(config.initializer_range)
        self.precision = precision
        self.result = result

    def __call__(self, x: jax.Array) -> jax.Array:
        w, b = self.parameters(x.shape[-1])
        rows = x.reshape(-1, x.shape[-1])  # [n, D]
        y = dense_product(rows, w, b, self.precision, self.result)
        return y.reshape(*x.shape[:-1], self.size)  # [..., F]

    def parameters(self, width: int) -> tuple[jax.Array, jax.Array]:
        """w and b."""
        w = hk.get_parameter("w", [width, self.size], jnp.float32, init=self.init)
        return w, hk.get_parameter("b", [self.size], jnp.float32, init=jnp.zeros)


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
        x = words(input_ids)
        x += table(config.type_vocab_size, "token_type_embeddings")(token_type_ids)
        x += table(config.max_position_embeddings, "position_embeddings")(position_ids)
        return dropout(LayerNorm(config)(x), config.hidden_dropout_prob), words.embeddings
