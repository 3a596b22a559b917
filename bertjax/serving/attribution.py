"""What each word adds to a prediction: the gradients that integrated gradients ask for, by JAX.

A text's points lie between its word embeddings and those of [MASK], which BERT has learned to read
as a word that nobody knows (Devlin et al. 2018, §3.1); special tokens are the same at both ends.
The model reads embeddings only through its table of words. So every slot of a call gets a word of
its own, and that table is what is derived: the model stays as it is.

R rows, T tokens a row, S texts a row, D width, N texts, P points, L tokens of the longest text.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.data.batches import place
from bertjax.data.cleaning import clean_texts
from bertjax.data.packing import pack_rows
from bertjax.data.shapes import SEGMENTS
from bertjax.data.tokens import token_spans, tokenize
from bertjax.evaluation.importance import (
    TOLERANCE,
    Slopes,
    Word,
    integrated_gradients,
    sum_by_word,
)
from bertjax.models.heads import make_model
from bertjax.serving.predictor import Predictor
from bertjax.training.vocabulary import MODULE, PARAM

_ROW_LENGTH = 128  # or longer, if a text is
_MULTIPLE = 32  # of tokens


class Attribution(NamedTuple):
    """Why a text has the probability of a class that it has."""

    text: str  # as it was read: cleaned, if the run cleans
    words: list[Word]  # weights add up to score - baseline; 0 of words past what is read
    score: float  # the probability; a regression's value
    baseline: float  # that of a text of unknown words, as many
    gap: float  # what the weights miss of their sum


def attribute(
    predictor: Predictor, texts: Sequence[str], classes: Sequence[int], tolerance: float = TOLERANCE
) -> list[Attribution]:
    """Integrated gradients of the probability of a class, in float32, for each of N texts.

    Args:
        classes: the class of each text [N].
        tolerance: what the weights of a text may miss of their sum.
    """
    if not texts:
        return []
    if predictor.run.clean:
        texts = clean_texts(texts)
    ids = tokenize(predictor.checkpoint.tokenizer, texts, predictor.max_length).ids
    spans = token_spans(predictor.checkpoint.tokenizer, texts, predictor.max_length)
    found = integrated_gradients(path_slopes(predictor, ids, spans, classes), len(texts), tolerance)
    return [
        Attribution(text, sum_by_word(text, spans[n], weights), *map(float, scores))
        for n, (text, weights, *scores) in enumerate(
            zip(texts, found.weights, found.scores, found.baselines, found.gaps, strict=True)
        )
    ]


def path_slopes(
    predictor: Predictor,
    token_ids: Sequence[np.ndarray],
    spans: Sequence[np.ndarray],
    classes: Sequence[int],
) -> Slopes:
    """The function that `integrated_gradients` takes, of the probabilities of N texts.

    Args:
        token_ids: N arrays [T_n].
        spans: N arrays [T_n, 2]; a special token's are empty.
        classes: of each text [N].
    """
    baselines = _baselines(predictor, token_ids, spans)
    numbers = np.asarray(classes, np.int32)
    sizes = np.array([len(ids) for ids in token_ids])
    length = max(_ROW_LENGTH, -(-int(sizes.max()) // _MULTIPLE) * _MULTIPLE)
    shape = max(predictor.slots // length, 1), length  # of every call: nothing is compiled twice
    derive = _derivative(predictor, shape)

    def slopes(texts: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = sizes[texts]
        rows = pack_rows(lengths, length, SEGMENTS)
        ends, begins = ([ids[n] for n in texts] for ids in (token_ids, baselines))
        scores = np.zeros(len(texts), np.float32)
        found = np.zeros((len(texts), sizes.max()), np.float32)  # [P, L]
        for start in range(0, len(rows), shape[0]):
            part = rows[start : start + shape[0]]
            end_ids, segments, points = place(part, ends, shape, SEGMENTS)
            start_ids, *_ = place(part, begins, shape, SEGMENTS)
            present = points >= 0  # [R, S]
            ways = np.where(present, places[points], 0).astype(np.float32)
            wanted = np.where(present, numbers[texts[points]], 0)
            values, slope = derive(end_ids, start_ids, segments, ways, wanted, present)
            scores[points[present]] = np.asarray(values)[present]
            _unpack(np.asarray(slope), part, lengths, found)
        return scores, found

    return slopes


def _baselines(
    predictor: Predictor, token_ids: Sequence[np.ndarray], spans: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The token ids with [MASK] for all but the special ones; [PAD] where there is no [MASK]."""
    unknown = predictor.checkpoint.tokenizer.mask_token_id
    if unknown is None:
        unknown = predictor.checkpoint.config.pad_token_id or 0
    return [
        np.where(span[:, 1] > span[:, 0], unknown, ids).astype(np.int32)
        for ids, span in zip(token_ids, spans, strict=True)
    ]


def _derivative(predictor: Predictor, shape: tuple[int, int]):
    """A call's tokens -> the score of each text [R, S], and each token's slope [R, T]."""
    checkpoint = predictor.checkpoint
    slots = shape[0] * shape[1]
    config = replace(checkpoint.config, vocab_size=slots)
    model = make_model(config, checkpoint.task, "float32")
    words = jnp.arange(slots, dtype=jnp.int32).reshape(shape)
    kind = config.resolved_problem_type

    def total(table, params, segments, wanted, present):
        params = {**params, MODULE: {**params[MODULE], PARAM: table}}
        output = model.apply(params, None, words, segment_ids=segments, max_segments=SEGMENTS)
        logits = output.logits / predictor.run.temperature  # [R, S, C]
        if kind == "single_label_classification":
            logits = jax.nn.softmax(logits)
        elif kind == "multi_label_classification":
            logits = jax.nn.sigmoid(logits)
        scores = jnp.take_along_axis(logits, wanted[:, :, None], axis=2)[:, :, 0]  # [R, S]
        return jnp.where(present, scores, 0.0).sum(), scores

    def derive(params, end_ids, start_ids, segments, ways, wanted, present):
        embeddings = params[MODULE][PARAM]
        way = jnp.take_along_axis(ways, jnp.maximum(segments - 1, 0), axis=1)  # [R, T]
        start = embeddings[start_ids]  # [R, T, D]
        change = embeddings[end_ids] - start
        table = (start + way[:, :, None] * change).reshape(slots, -1)  # [R T, D]
        (_, scores), slope = jax.value_and_grad(total, has_aux=True)(
            table, params, segments, wanted, present
        )
        return scores, (slope.reshape(change.shape) * change).sum(axis=2)

    return partial(jax.jit(derive), checkpoint.params)


def _unpack(
    values: np.ndarray, rows: Sequence[Sequence[int]], lengths: np.ndarray, found: np.ndarray
) -> None:
    """Write what was computed of each token [R, T] where its point stands; `found` is changed."""
    for row, points in enumerate(rows):
        end = 0
        for point in points:
            found[point, : lengths[point]] = values[row, end : end + lengths[point]]
            end += lengths[point]
