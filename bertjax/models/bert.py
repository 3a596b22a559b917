"""BERT's encoder (Devlin et al. 2018, §3), as a Haiku module.

B rows, T tokens a row, Q of them, D width, F inner width, N heads, L layers, V vocabulary.
"""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models.activations import ACTIVATIONS, gelu, rounded_gelu
from bertjax.models.attention import SelfAttention
from bertjax.models.configs import BertConfig
from bertjax.models.layers import Dense, Embeddings
from bertjax.models.precision import exact, rounds_results
from bertjax.models.residual_norm import Hidden, LayerNorm, hidden
from bertjax.models.segments import take_tokens, visible


class Encoded(NamedTuple):
    """What the encoder computes."""

    last_hidden_state: jax.Array  # [B, T, D]; [B, Q, D] where only some tokens were asked for
    word_embeddings: jax.Array  # [V, D], for a decoder that is tied to them
    # L + 1 of [B, T, D], the embeddings first; the last is `last_hidden_state`.
    hidden_states: tuple[jax.Array, ...]
    # L of [B, N, T, T], if they were to be kept; the last [B, N, Q, T] as above.
    attentions: tuple[jax.Array | None, ...]


class Activation(hk.Module):
    """The config's `hidden_act`, in float32; a module, since two of them own parameters."""

    def __init__(self, config: BertConfig):
        super().__init__(name="activation")
        self.function = ACTIVATIONS[config.hidden_act]

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.function is gelu and x.dtype == jnp.bfloat16:
            return rounded_gelu(x)
        return self.function(exact(x)).astype(x.dtype)


class Layer(hk.Module):
    """One encoder layer: attention, then two dense layers, each with a residual sum and norm."""

    def __init__(self, config: BertConfig, precision: str, name: str, keep_attentions: bool = True):
        super().__init__(name=name)
        self.config = config
        self.precision = precision
        self.keep_attentions = keep_attentions

    def __call__(
        self,
        x: Hidden,
        mask: jax.Array,
        segment_ids: jax.Array,
        tokens: jax.Array | None = None,
    ) -> tuple[Hidden, jax.Array | None]:
        """x [B, T, D] -> [B, T, D] and probabilities [B, N, T, T] or None.

        `segment_ids` [B, T] and the mask that follows from it, bool [B, T, T], are both given: one
        mask serves all layers, and the compiler drops it where none reads it.

        `tokens` [B, Q]: those of each row that are computed; Q then stands for the T of queries.
        """
        config, precision = self.config, self.precision
        queries = x
        if tokens is not None:
            queries = Hidden(*(take_tokens(part, tokens) for part in x))
            mask = take_tokens(mask, tokens)
        attention = SelfAttention(config, precision, self.keep_attentions)
        attended, probabilities = attention(queries.operand, x.operand, mask, segment_ids)
        x = self._add(queries, attended, "attention_norm")
        inner = self._dense(config.intermediate_size, "intermediate")(x.operand)
        inner = Activation(config)(inner)  # [B, T, F]
        output = self._dense(config.hidden_size, "output")(inner)
        return self._add(x, output, "output_norm"), probabilities

    @hk.transparent  # what it makes is named as if the caller had made it
    def _add(self, x: Hidden, update: jax.Array, name: str) -> Hidden:
        rate = self.config.hidden_dropout_prob
        return LayerNorm(self.config, name).of_sum(x.exact, update, rate, self.precision)

    @hk.transparent  # what it makes is named as if the caller had made it
    def _dense(self, size: int, name: str) -> Dense:
        return Dense(size, self.config, self.precision, name, rounds_results(self.precision))


class BertEncoder(hk.Module):
    """Embeddings and L layers."""

    def __init__(
        self,
        config: BertConfig,
        precision: str,
        remat: bool = False,
        keep_attentions: bool = True,
    ):
        super().__init__(name="bert")
        self.config = config
        self.precision = precision
        self.remat = remat
        self.keep_attentions = keep_attentions

    def __call__(
        self,
        input_ids: jax.Array,
        token_type_ids: jax.Array,
        position_ids: jax.Array,
        segment_ids: jax.Array,
        tokens: jax.Array | None = None,
    ) -> Encoded:
        """Four int [B, T]; see `bertjax.models.segments` for the last.

        `tokens` [B, Q]: those of each row that the last layer computes, where no other is asked
        for. All but keys and values of that layer is then work for Q tokens and not for T, and
        the last of `hidden_states` is [B, Q, D].
        """
        mask = visible(segment_ids)
        x, words = Embeddings(self.config)(input_ids, token_type_ids, position_ids)
        x = hidden(x, self.precision)
        hidden_states, attentions = [x.exact], []
        for i in range(self.config.num_hidden_layers):
            layer = Layer(self.config, self.precision, f"layer_{i}", self.keep_attentions)
            last = i == self.config.num_hidden_layers - 1
            x, probabilities = self._run(layer, x, mask, segment_ids, tokens if last else None)
            hidden_states.append(x.exact)
            attentions.append(probabilities)
        return Encoded(x.exact, words, tuple(hidden_states), tuple(attentions))

    def _run(self, layer: Layer, x: Hidden, *others) -> tuple[Hidden, jax.Array | None]:
        if not self.remat:
            return layer(x, *others)

        def from_exact(exact: jax.Array, *others) -> tuple[jax.Array, jax.Array | None]:
            x, probabilities = layer(hidden(exact, self.precision), *others)
            return x.exact, probabilities

        exact, probabilities = hk.remat(from_exact)(x.exact, *others)  # keeps this one array
        return hidden(exact, self.precision), probabilities
