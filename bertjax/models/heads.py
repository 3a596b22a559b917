"""The eight tasks of a BERT: the encoder with the head that transformers gives it.

B rows, T tokens a row, S packed sequences a row, M choices, D width, C labels, V vocabulary.

Where rows are packed (`segment_ids` is given), what is one value a row becomes one value a
sequence: [B, ...] becomes [B, S, ...], entry s for the sequence with segment id s + 1, and entries
of absent sequences mean nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from bertjax.models import segments
from bertjax.models.bert import Activation, BertEncoder, Encoded
from bertjax.models.configs import TASKS, BertConfig, Precision
from bertjax.models.dropout import dropout
from bertjax.models.layers import Dense
from bertjax.models.pooling import SentencePooling
from bertjax.models.precision import resolve_precision, tied_product
from bertjax.models.residual_norm import LayerNorm


class ModelOutput(NamedTuple):
    """The outputs of every task, named as transformers names them; None where a task has none."""

    last_hidden_state: jax.Array | None = None  # [B, T, D]
    pooler_output: jax.Array | None = None  # [B, D]
    sentence_embedding: jax.Array | None = None  # [B, D]
    logits: jax.Array | None = None  # [B, C], [B, T, C], [B, T, V], [B, 2] or [B, M]: by the task
    start_logits: jax.Array | None = None  # [B, T]
    end_logits: jax.Array | None = None  # [B, T]
    prediction_logits: jax.Array | None = None  # [B, T, V]
    seq_relationship_logits: jax.Array | None = None  # [B, 2]
    hidden_states: tuple[jax.Array, ...] | None = None  # on request: L + 1 of [B, T, D]
    attentions: tuple[jax.Array, ...] | None = None  # on request: L of [B, N, T, T]


class Context(NamedTuple):
    """What a head gets: the encoded rows, and how to find a row's sequences in them."""

    config: BertConfig
    precision: str
    encoded: Encoded
    first: jax.Array | None  # [B, S], where sequences begin; None: no other token was encoded
    segment_ids: jax.Array  # [B, T]
    max_segments: int | None  # S; None: rows are not packed, and a row is a sequence
    has_pooler: bool
    output_pooler: bool  # of text-classification
    sentence_pooling: SentencePooling | None

    def dense(self, x: jax.Array, size: int, name: str) -> jax.Array:
        return Dense(size, self.config, self.precision, name)(x)

    def pooled(self) -> jax.Array:
        """BERT's pooler: tanh of a dense layer on the first token. [B, D] or [B, S, D]."""
        x = self.encoded.last_hidden_state
        if self.first is not None:
            x = segments.take_tokens(x, self.first)
        if self.max_segments is None:
            x = x[:, 0]
        return jnp.tanh(self.dense(x, self.config.hidden_size, "pooler"))


def _feature_extraction(context: Context) -> ModelOutput:
    x = context.encoded.last_hidden_state
    embedding = None
    if context.sentence_pooling is not None:
        embedding = context.sentence_pooling(x, context.segment_ids, context.max_segments or 1)
        embedding = embedding[:, 0] if context.max_segments is None else embedding
    return ModelOutput(
        last_hidden_state=x,
        pooler_output=context.pooled() if context.has_pooler else None,
        sentence_embedding=embedding,
    )


def _masked_lm(context: Context) -> jax.Array:
    """Scores of every word at every token. [B, T, V]."""
    config = context.config
    x = context.dense(context.encoded.last_hidden_state, config.hidden_size, "transform")
    x = LayerNorm(config, "transform_norm")(Activation(config)(x))
    if config.tie_word_embeddings:
        decoder = context.encoded.word_embeddings
    else:
        init = hk.initializers.RandomNormal(config.initializer_range)
        shape = context.encoded.word_embeddings.shape
        decoder = hk.get_parameter("decoder", shape, x.dtype, init=init)
    bias = hk.get_parameter("decoder_bias", [config.vocab_size], x.dtype, init=jnp.zeros)
    scores = tied_product(x.reshape(-1, config.hidden_size), decoder, context.precision) + bias
    return scores.reshape(*x.shape[:2], -1)


def _fill_mask(context: Context) -> ModelOutput:
    return ModelOutput(logits=_masked_lm(context))


def _next_sentence(context: Context) -> ModelOutput:
    return ModelOutput(logits=context.dense(context.pooled(), 2, "seq_relationship"))


def _pretraining(context: Context) -> ModelOutput:
    return ModelOutput(
        prediction_logits=_masked_lm(context),
        seq_relationship_logits=context.dense(context.pooled(), 2, "seq_relationship"),
    )


def _text_classification(context: Context) -> ModelOutput:
    config = context.config
    pooled = context.pooled()
    dropped = dropout(pooled, config.head_dropout)
    logits = context.dense(dropped, config.num_labels, "classifier")
    return ModelOutput(pooler_output=pooled if context.output_pooler else None, logits=logits)


def _token_classification(context: Context) -> ModelOutput:
    config = context.config
    x = dropout(context.encoded.last_hidden_state, config.head_dropout)
    return ModelOutput(logits=context.dense(x, config.num_labels, "classifier"))


def _question_answering(context: Context) -> ModelOutput:
    scores = context.dense(context.encoded.last_hidden_state, 2, "qa_outputs")  # [B, T, 2]
    return ModelOutput(start_logits=scores[..., 0], end_logits=scores[..., 1])


def _multiple_choice(context: Context) -> ModelOutput:
    pooled = dropout(context.pooled(), context.config.head_dropout)
    return ModelOutput(logits=context.dense(pooled, 1, "classifier")[..., 0])  # [B M] or [B M, S]


_HEADS: dict[str, Callable[[Context], ModelOutput]] = {
    "feature-extraction": _feature_extraction,
    "fill-mask": _fill_mask,
    "next-sentence-prediction": _next_sentence,
    "pretraining": _pretraining,
    "text-classification": _text_classification,
    "token-classification": _token_classification,
    "question-answering": _question_answering,
    "multiple-choice": _multiple_choice,
}


# Tasks of which the heads read each sequence's first token alone.
_POOLED = ("next-sentence-prediction", "text-classification", "multiple-choice")


def make_model(
    config: BertConfig,
    task: str,
    precision: Precision = "float32",
    has_pooler: bool = True,
    sentence_pooling: SentencePooling | None = None,
    remat: bool = False,
) -> hk.Transformed:
    """BERT with the head of a task, as `init(rng, input_ids)` and `apply(params, rng, ...)`.

    `apply` takes, besides params and a key (None: no dropout):
        input_ids: int [B, T]; [B, M, T] for multiple-choice, as are the others then.
        attention_mask: [B, T], 0 at padding. Default: no padding.
        token_type_ids: int [B, T]. Default: 0.
        position_ids: int [B, T]. Default: 0 to T - 1, or from 0 in each packed sequence and 0 at
            padding.
        segment_ids: int [B, T], instead of attention_mask: 0 at padding, 1..n for the n-th
            sequence packed in the row. Outputs that are one a row become one a sequence. A row
            may be longer than `config.max_position_embeddings`; a sequence must not be, which
            cannot be seen when this is traced: its tokens beyond all take the last position.
        max_segments: S, the most sequences in a row; static. Default: T.
        output_hidden_states, output_attentions: static; return these too. The last layer then
            computes every token, and draws dropout for it, also where the head reads first tokens.
        output_pooler: static; text-classification returns `pooler_output` too, what its head reads.
    and returns a `ModelOutput`. It raises a ValueError if it is given both attention_mask and
    segment_ids, an input of another shape than input_ids, or, with neither position_ids nor
    segment_ids, rows of more tokens than `config.max_position_embeddings`.

    Args:
        has_pooler: whether feature-extraction computes `pooler_output`; the other tasks have a
            pooler where transformers' have.
        sentence_pooling: how feature-extraction computes `sentence_embedding`; None: not at all.
        remat: whether a gradient computes each layer again and keeps its input alone (Chen et al.
            2016): less memory, more time, the same numbers.

    Raises:
        ValueError: the task or the precision is not known.
    """
    if task not in _HEADS:
        raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
    resolved = resolve_precision(precision)
    head = _HEADS[task]

    def forward(
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        segment_ids: jax.Array | None = None,
        max_segments: int | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_pooler: bool = False,
    ) -> ModelOutput:
        inputs = _inputs(
            config, input_ids, attention_mask, token_type_ids, position_ids, segment_ids
        )
        if hk.maybe_get_rng_sequence_state() is not None:
            # All keys by one split: one for each dropout of the layers, embeddings and head.
            hk.reserve_rng_keys(3 * config.num_hidden_layers + 2)
        sequences = None if segment_ids is None else max_segments or input_ids.shape[-1]
        first = _first_tokens(inputs.segment_ids, sequences)
        asked_for_all = output_hidden_states or output_attentions
        only_first = task in _POOLED and config.num_hidden_layers > 0 and not asked_for_all
        encoder = BertEncoder(config, resolved, remat, output_attentions)
        encoded = encoder(*inputs, tokens=first if only_first else None)
        context = Context(
            config,
            resolved,
            encoded,
            None if only_first else first,
            inputs.segment_ids,
            sequences,
            has_pooler,
            output_pooler,
            sentence_pooling,
        )
        output = head(context)
        if task == "multiple-choice":
            output = _by_choice(output, input_ids.shape[1], sequences is not None)
        return output._replace(
            hidden_states=encoded.hidden_states if output_hidden_states else None,
            attentions=encoded.attentions if output_attentions else None,
        )

    return hk.transform(forward)


def _first_tokens(segment_ids: jax.Array, max_segments: int | None) -> jax.Array:
    """[B, S]; where rows are not packed the first of the row [B, 1], be it padding or not."""
    if max_segments is None:
        return jnp.zeros((len(segment_ids), 1), jnp.int32)
    return segments.first_tokens(segment_ids, max_segments)


def _by_choice(output: ModelOutput, choices: int, packed: bool) -> ModelOutput:
    """Logits [B M] -> [B, M], or [B M, S] -> [B, S, M]."""
    assert output.logits is not None
    logits = output.logits.reshape(-1, choices, *output.logits.shape[1:])
    return output._replace(logits=jnp.moveaxis(logits, 1, 2) if packed else logits)


class _Inputs(NamedTuple):
    input_ids: jax.Array
    token_type_ids: jax.Array
    position_ids: jax.Array
    segment_ids: jax.Array


def _inputs(
    config: BertConfig,
    input_ids: jax.Array,
    attention_mask: jax.Array | None,
    token_type_ids: jax.Array | None,
    position_ids: jax.Array | None,
    segment_ids: jax.Array | None,
) -> _Inputs:
    """Rows of all, [B, T] or [B M, T], with what the caller left out."""
    if attention_mask is not None and segment_ids is not None:
        raise ValueError("give attention_mask or segment_ids, not both: each says what is padding")
    shape = input_ids.shape

    def rows(name: str, x: jax.Array) -> jax.Array:
        if jnp.shape(x) != shape:
            raise ValueError(
                f"{name} has the shape {jnp.shape(x)}, expected that of input_ids, {shape}"
            )
        return jnp.asarray(x, jnp.int32).reshape(-1, shape[-1])

    ids = rows("input_ids", input_ids)
    if segment_ids is not None:
        segment = rows("segment_ids", segment_ids)
    elif attention_mask is not None:
        segment = jnp.minimum(rows("attention_mask", attention_mask), 1)
    else:
        segment = jnp.ones_like(ids)

    if position_ids is not None:
        position = rows("position_ids", position_ids)
    elif segment_ids is not None:
        position = segments.positions(segment)
    elif shape[-1] > config.max_position_embeddings:
        raise ValueError(
            f"input_ids have {shape[-1]} tokens a row, but the model has positions for "
            f"{config.max_position_embeddings}: shorten the texts"
        )
    else:
        position = jnp.broadcast_to(jnp.arange(shape[-1], dtype=jnp.int32), ids.shape)

    if token_type_ids is None:
        return _Inputs(ids, jnp.zeros_like(ids), position, segment)
    return _Inputs(ids, rows("token_type_ids", token_type_ids), position, segment)
