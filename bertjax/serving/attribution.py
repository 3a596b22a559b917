"""What each word adds to a prediction: the gradients that integrated gradients ask for, by JAX.

A text's points lie between its word embeddings and those of a text that tells nothing: as many
[MASK], [UNK] or [PAD]; special tokens are the same at both ends. The score of that baseline should
be near zero (Sundararajan et al. 2017, §2), so it is the one of which the model thinks the class
least likely: a fine-tuned BERT may take [MASK]s for one of its classes, with a probability of 0.95.

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
    score: float  # the probability
    baseline: float  # that of as many tokens that tell nothing
    gap: float  # what the weights miss of their sum


def attribute(
    predictor: Predictor, texts: Sequence[str], classes: Sequence[int], tolerance: float = TOLERANCE
) -> list[Attribution]:
    """Integrated gradients of the probability of a class, in float32, for each of N texts.

    Args:
        predictor: of classes, not of a regression.
        classes: the class of each text [N].
        tolerance: what the weights of a text may miss of their sum.
    """
    if not texts:
        return []
    if predictor.run.clean:
        texts = clean_texts(texts)
    tokenizer, most = predictor.checkpoint.tokenizer, predictor.max_length
    ids, spans = tokenize(tokenizer, texts, most).ids, token_spans(tokenizer, texts, most)
    kinds = _baselines(predictor, ids, spans)
    count, many = len(texts), len(kinds)
    starts = [start for kind in kinds for start in kind]  # that of text n by kind k is k N + n
    slopes = path_slopes(predictor, starts, ids * many, [*classes] * many)
    scores, _ = slopes(np.arange(count * many), np.zeros(count * many))
    chosen = scores.reshape(many, count).argmin(axis=0) * count + np.arange(count)

    def chosen_slopes(points: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return slopes(chosen[points], places)

    found = integrated_gradients(chosen_slopes, count, tolerance)
    return [
        Attribution(text, sum_by_word(text, spans[n], weights), *map(float, values))
        for n, (text, weights, *values) in enumerate(
            zip(texts, found.weights, found.scores, found.baselines, found.gaps, strict=True)
        )
    ]


def path_slopes(
    predictor: Predictor,
    starts: Sequence[np.ndarray],
    ends: Sequence[np.ndarray],
    classes: Sequence[int],
) -> Slopes:
    """The function that `integrated_gradients` takes, of the probabilities of N texts.

    Args:
        starts, ends: the token ids of baselines and texts, N arrays [T_n] each.
        classes: of each text [N].
    """
    numbers = np.asarray(classes, np.int32)
    sizes = np.array([len(ids) for ids in ends])
    length = max(_ROW_LENGTH, -(-int(sizes.max()) // _MULTIPLE) * _MULTIPLE)
    shape = max(predictor.slots // length, 1), length  # of every call: nothing is compiled twice
    derive = _derivative(predictor, shape)

    def slopes(texts: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = sizes[texts]
        rows = pack_rows(lengths, length, SEGMENTS)
        froms, tos = ([ids[n] for n in texts] for ids in (starts, ends))
        scores = np.zeros(len(texts), np.float32)
        found = np.zeros((len(texts), sizes.max()), np.float32)  # [P, L]
        for start in range(0, len(rows), shape[0]):
            part = rows[start : start + shape[0]]
            end_ids, segments, points = place(part, tos, shape, SEGMENTS)
            start_ids, *_ = place(part, froms, shape, SEGMENTS)
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
) -> list[list[np.ndarray]]:
    """For each token that tells nothing, the token ids with it for all but the special ones."""
    tokenizer = predictor.checkpoint.tokenizer
    ids = tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id
    return [
        [
            np.where(span[:, 1] > span[:, 0], nothing, ids).astype(np.int32)
            for ids, span in zip(token_ids, spans, strict=True)
        ]
        for nothing in dict.fromkeys(one for one in ids if one is not None)
    ]


def _derivative(predictor: Predictor, shape: tuple[int, int]):
    """A call's tokens -> the score of each text [R, S], and each token's slope [R, T]."""
    checkpoint = predictor.checkpoint
    slots = shape[0] * shape[1]
    config = replace(checkpoint.config, vocab_size=slots)
    model = make_model(config, checkpoint.task, "float32")
    words = jnp.arange(slots, dtype=jnp.int32).reshape(shape)
    one_class = config.resolved_problem_type == "single_label_classification"
    to_probabilities = jax.nn.softmax if one_class else jax.nn.sigmoid

    def total(table, params, segments, wanted, present):
        params = {**params, MODULE: {**params[MODULE], PARAM: table}}
        output = model.apply(params, None, words, segment_ids=segments, max_segments=SEGMENTS)
        probabilities = to_probabilities(output.logits / predictor.run.temperature)  # [R, S, C]
        scores = jnp.take_along_axis(probabilities, wanted[:, :, None], axis=2)[:, :, 0]  # [R, S]
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
